// @ts-check
/** Changes of the presets on their way to the server: one at a time, until the list shows it. */

import { PRESET_WORDS } from "./messages.js";
import { systemTimers } from "./signalling.js";

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./protocol.js").Preset} Preset */

/**
 * @typedef {object} Change
 * @property {(presets: Preset[]) => boolean} shows whether a list holds the change
 * @property {(presets: Preset[]) => void} done called once, when it does
 * @property {(words: string) => void} fail called instead, with a sentence for people
 */

const ANSWER_WITHIN_MS = 5_000;
/** Other errors may come meanwhile, but not because of the change. */
const REFUSALS = new Set(["bad_preset", "not_allowed", "unknown_preset", "bad_message"]);

export class PresetChanges {
  #send;
  #timers;
  /** @type {(Change & {timer: any}) | null} */
  #change = null;

  /** @param {(message: ClientMessage) => void} send @param {import("./signalling.js").Timers} [timers] */
  constructor(send, timers = systemTimers) {
    this.#send = send;
    this.#timers = timers;
  }

  /** @param {ClientMessage} message @param {Change} change */
  ask(message, change) {
    this.forget();
    const timer = this.#timers.set(
      () => this.#end()?.fail(PRESET_WORDS.unanswered),
      ANSWER_WITHIN_MS,
    );
    this.#change = { ...change, timer };
    this.#send(message);
  }

  /** The list as the server has it now. @param {Preset[]} presets */
  take(presets) {
    if (this.#change?.shows(presets)) this.#end()?.done(presets);
  }

  /** @param {{code: string, message: string}} error @returns {boolean} whether it was the answer to a change */
  takeError({ code, message }) {
    if (!this.#change || !REFUSALS.has(code)) return false;
    this.#end()?.fail(message);
    return true;
  }

  /** Nobody waits for the answer any more. */
  forget() {
    this.#end();
  }

  #end() {
    const change = this.#change;
    this.#change = null;
    if (change) this.#timers.clear(change.timer);
    return change;
  }
}
