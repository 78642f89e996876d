// @ts-check
/** Stand-ins for the browser: a clock moved by hand, a socket, and a peer connection. */

export class FakeTimers {
  time_ms = 0;
  /** @type {{id: number, at_ms: number, call: () => void}[]} */
  #due = [];
  #next = 1;

  now_ms = () => this.time_ms;

  /** @param {() => void} call @param {number} delay_ms */
  set = (call, delay_ms) => {
    const id = this.#next++;
    this.#due.push({ id, at_ms: this.time_ms + delay_ms, call });
    return id;
  };

  /** @param {number} id */
  clear = (id) => {
    this.#due = this.#due.filter((entry) => entry.id !== id);
  };

  get pending() {
    return this.#due.length;
  }

  /** Nothing runs for so long; what has become due meanwhile runs late. @param {number} for_ms */
  sleep(for_ms) {
    this.time_ms += for_ms;
    this.advance(0);
  }

  /** Runs what is due on the way. @param {number} by_ms */
  advance(by_ms) {
    const end_ms = this.time_ms + by_ms;
    for (;;) {
      this.#due.sort((a, b) => a.at_ms - b.at_ms || a.id - b.id);
      const first = this.#due[0];
      if (!first || first.at_ms > end_ms) break;
      this.#due.shift();
      this.time_ms = Math.max(this.time_ms, first.at_ms);
      first.call();
    }
    this.time_ms = end_ms;
  }
}

export class FakeSocket {
  /** @type {any} */ onopen = null;
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onclose = null;
  /** @type {any} */ onerror = null;
  /** @type {any[]} */ sent = [];
  closed = false;

  /** @param {any} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  /** The server accepts. */
  open() {
    this.onopen?.({});
  }

  /** The server speaks. @param {unknown} message */
  hear(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  /** The line breaks, or the server closes it with a code. */
  drop(code = 1006) {
    this.onclose?.({ code });
  }

  /** @param {string} type */
  sentOf(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

export class FakeConnection {
  /** @type {any} */ ontrack = null;
  /** @type {any} */ onicecandidate = null;
  /** @type {any} */ onconnectionstatechange = null;
  connectionState = "new";
  signalingState = "stable";
  /** @type {any} */ localDescription = null;
  /** @type {any} */ remoteDescription = null;
  /** @type {any[]} */ transceivers = [];
  closed = false;

  /** @param {RTCConfiguration} config */
  constructor(config) {
    this.config = config;
  }

  /** @param {any} trackOrKind @param {any} init */
  addTransceiver(trackOrKind, init) {
    const sender = {
      track: trackOrKind,
      /** @param {any} track */
      async replaceTrack(track) {
        this.track = track;
      },
    };
    this.transceivers.push({ trackOrKind, init, sender });
  }

  getTransceivers() {
    return this.transceivers;
  }

  async setLocalDescription() {
    this.signalingState = "have-local-offer";
    this.localDescription = { type: "offer", sdp: "the offer" };
    // Browsers may find the first candidate before the caller goes on.
    this.onicecandidate?.({ candidate: { candidate: "first", sdpMid: "0", sdpMLineIndex: 0 } });
  }

  /** @param {any} description */
  async setRemoteDescription(description) {
    this.signalingState = "stable";
    this.remoteDescription = description;
  }

  async getStats() {
    return new Map();
  }

  /** @param {string} state */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.({});
  }

  close() {
    this.closed = true;
  }
}

/** Lets everything that waits on resolved promises go on. */
export async function settle() {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}
