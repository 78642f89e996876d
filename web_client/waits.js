// @ts-check
/** Timers by what they are for: at most one of a name, and all of them ended together. */

export class Waits {
  #timers;
  /** @type {Map<string, any>} */
  #ids = new Map();

  /** @param {import("./signalling.js").Timers} timers */
  constructor(timers) {
    this.#timers = timers;
  }

  /** @param {string} name @param {number} delay_ms @param {() => void} then */
  start(name, delay_ms, then) {
    this.end(name);
    this.#ids.set(name, this.#timers.set(then, delay_ms));
  }

  /** @param {string} name */
  end(name) {
    if (this.#ids.has(name)) this.#timers.clear(this.#ids.get(name));
    this.#ids.delete(name);
  }

  endAll() {
    for (const name of [...this.#ids.keys()]) this.end(name);
  }
}
