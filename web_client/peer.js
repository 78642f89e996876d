// @ts-check
/**
 * One conversation with the server: socket, WebRTC, and getting both back when they break.
 *
 *   connecting -> live -> waiting -> connecting -> ...
 *
 * `failed` ends it where trying again by itself would not help; `closed` is the user's wish and
 * wins over everything: after close() no callback is called any more.
 *
 * Without a microphone it watches somebody else's session: picture and voice come, nothing goes.
 */

import { retryDelayMs } from "./backoff.js";
import { BUSY, codeOfError, endsAnAttempt, FINAL } from "./endings.js";
import { MediaLink } from "./media_link.js";
import { Signalling, systemTimers } from "./signalling.js";
import { Waits } from "./waits.js";

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */
/** @typedef {import("./protocol.js").Welcome} Welcome */
/** @typedef {import("./protocol.js").State} State */
/** @typedef {import("./protocol.js").Preset} Preset */
/** @typedef {import("./protocol.js").ServerError} ServerError */
/** @typedef {import("./signalling.js").Ending} Ending */
/** @typedef {import("./signalling.js").Socket} Socket */
/** @typedef {import("./signalling.js").Timers} Timers */
/** @typedef {"connecting" | "live" | "waiting" | "failed" | "closed"} PeerState */

/**
 * @typedef {object} Detail
 * @property {string} [code] of messages.js: what went wrong last, as long as it is not live again
 * @property {string} [message] the server's own words for it
 * @property {number} [retry_ms] until the next attempt
 * @property {boolean} [again] it has been live before: this is a break, not a beginning
 */

/**
 * @typedef {object} PeerConfig
 * @property {() => Socket} openSocket
 * @property {MediaStreamTrack | null} microphone null: only see and hear
 * @property {string | null} [avatar]
 * @property {string | null} [watch] id of the session to watch, or "latest"
 * @property {boolean} [patient] waits for a place where there is none
 * @property {boolean} [persistent] never gives up: for a screen that nobody stands at
 * @property {(state: PeerState, detail: Detail) => void} onState
 * @property {(stream: MediaStream) => void} onStream picture and voice, in one stream
 * @property {(welcome: Welcome) => void} onWelcome
 * @property {(state: State) => void} onServerState twice a second
 * @property {(presets: Preset[]) => void} [onPresets] whenever they have changed
 * @property {(error: ServerError) => void} [onServerError] the errors that end nothing
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [createConnection]
 * @property {Timers} [timers]
 * @property {() => number} [random] in [0, 1)
 */

/** From opening the socket to the first picture. */
const CONNECT_WITHIN_MS = 15_000;
/** An attempt older than this may have begun in a network that is gone. */
const FRESH_FOR_MS = 3_000;
/** ICE often heals by itself: a short break of a phone's network is not worth a new session. */
const HEAL_WITHIN_MS = 4_000;
/** So long alive, and the next break starts again with the shortest wait. */
const STABLE_AFTER_MS = 10_000;
/** After a break the server may hold our own place for a while, and so have no other. */
const OWN_PLACE_MS = 60_000;

export class Peer {
  #config;
  #timers;
  #random;
  #microphone;
  /** @type {PeerState} */
  #state = "connecting";
  #attempt = 0;
  #began_ms = 0;
  /** When it was live last; NaN before the first time. */
  #live_ms = NaN;
  /** Why it is not live. @type {Detail} */
  #trouble = {};
  /** @type {Signalling | null} */
  #signalling = null;
  /** @type {MediaLink | null} */
  #link = null;
  /** Of the present attempt. */
  #waits;

  /** @param {PeerConfig} config */
  constructor(config) {
    this.#config = config;
    this.#timers = config.timers ?? systemTimers;
    this.#waits = new Waits(this.#timers);
    this.#random = config.random ?? Math.random;
    this.#microphone = config.microphone;
    this.#start();
  }

  /** @returns {PeerState} */
  get state() {
    return this.#state;
  }

  /** @param {ClientMessage} message */
  send(message) {
    this.#signalling?.send(message);
  }

  /** Ends the countdown. Does nothing unless waiting or failed. */
  retryNow() {
    if (this.#state === "waiting" || this.#state === "failed") this.#start();
  }

  /** There may be another network, or none, or much time may have passed: looks, or tries anew. */
  nudge() {
    if (this.#state === "live") this.#signalling?.probe();
    const stale = this.#timers.now_ms() - this.#began_ms > FRESH_FOR_MS;
    if (this.#state === "connecting" && stale) this.#start();
    // Who waits for a place has nothing to gain from a hurry.
    if (this.#state === "waiting" && !BUSY.has(this.#trouble.code ?? "")) {
      this.#attempt = 0;
      this.#start();
    }
  }

  /** Speaks with another microphone from now on, in this attempt and in later ones. @param {MediaStreamTrack} track */
  async replaceMicrophone(track) {
    this.#microphone = track;
    await this.#link?.replaceMicrophone(track);
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async stats() {
    return this.#state === "live" && this.#link ? this.#link.stats() : null;
  }

  /** Ends everything; may be called again. */
  close() {
    this.#state = "closed";
    this.#tearDown();
  }

  #start() {
    this.#tearDown();
    this.#began_ms = this.#timers.now_ms();
    this.#enter("connecting", this.#trouble);
    this.#waits.start("connect", CONNECT_WITHIN_MS, () =>
      this.#lose({ code: this.#link?.blockedCode ?? "unreachable" }),
    );
    this.#signalling = new Signalling({
      openSocket: this.#config.openSocket,
      avatar: this.#config.avatar ?? null,
      watch: this.#config.watch ?? null,
      timers: this.#timers,
      onMessage: (message) => this.#receive(message),
      onEnd: (ending) => this.#lose(ending),
    });
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "welcome":
        this.#config.onWelcome(message);
        if (this.#state === "connecting") this.#connect(message.ice_servers);
        break;
      case "answer":
        void this.#link?.accept(message.sdp);
        break;
      case "state":
        this.#config.onServerState(message);
        break;
      case "presets":
        this.#config.onPresets?.(message.presets);
        break;
      case "error":
        if (message.fatal || (this.#state === "connecting" && endsAnAttempt(message.code))) {
          this.#lose({ code: codeOfError(message), message: message.message });
        } else {
          this.#config.onServerError?.(message);
        }
        break;
      case "pong":
      case "goodbye":
        break;
    }
  }

  /** @param {RTCIceServer[]} iceServers */
  #connect(iceServers) {
    const { onStream, createConnection } = this.#config;
    this.#link = new MediaLink({
      iceServers,
      microphone: this.#microphone,
      send: (message) => this.send(message),
      onStream,
      onState: (state) => this.#follow(state),
      onFail: (code) => this.#lose({ code }),
      ...(createConnection ? { createConnection } : {}),
    });
  }

  /** @param {RTCPeerConnectionState} connectionState */
  #follow(connectionState) {
    switch (connectionState) {
      case "connected":
        this.#waits.end("heal");
        if (this.#state !== "connecting") return;
        this.#waits.end("connect");
        this.#waits.start("stable", STABLE_AFTER_MS, () => (this.#attempt = 0));
        this.#trouble = {};
        this.#enter("live");
        break;
      case "disconnected":
        // Where the socket is dead too, there is nothing that could heal.
        this.#signalling?.probe();
        this.#waits.start("heal", HEAL_WITHIN_MS, () => this.#lose({ code: "connection_lost" }));
        break;
      case "failed":
      case "closed":
        this.#lose({
          code:
            this.#state === "live"
              ? "connection_lost"
              : (this.#link?.blockedCode ?? "media_blocked"),
        });
        break;
    }
  }

  /** The one way down: tears the attempt down, then waits for the next or gives up. @param {Ending} ending */
  #lose({ code: said, message, retry_s }) {
    if (this.#state === "closed" || this.#state === "failed" || this.#state === "waiting") return;
    if (this.#state === "live") this.#live_ms = this.#timers.now_ms();
    this.#tearDown();
    const code = this.#meant(said);
    const again = !Number.isNaN(this.#live_ms);
    this.#trouble = { code, again, ...(message ? { message } : {}) };
    if (this.#isFinal(code)) {
      this.#enter("failed", this.#trouble);
      return;
    }
    // Our own old place is free soon: no reason for the long waits of a full server.
    const ours = again && BUSY.has(code) && !this.#config.patient && !this.#config.persistent;
    const why = { ...(ours ? {} : { code }), ...(retry_s ? { retry_s } : {}) };
    const retry_ms = retryDelayMs(this.#attempt, this.#random(), why);
    // A server without a session to watch is well: what comes after it is a first attempt again.
    this.#attempt = code === "unknown_session" ? 0 : this.#attempt + 1;
    this.#waits.start("retry", retry_ms, () => this.#start());
    this.#enter("waiting", { ...this.#trouble, retry_ms });
  }

  /** What an ending means to who watches: sessions never come back, but `latest` goes on to the next. @param {string} code */
  #meant(code) {
    const { watch } = this.#config;
    const ended = code === "session_over" || code === "goodbye";
    if (watch === "latest" && ended) return "unknown_session";
    if (watch && watch !== "latest" && code === "unknown_session") return "session_gone";
    return code;
  }

  /** @param {string} code */
  #isFinal(code) {
    if (this.#config.persistent) return false;
    if (!BUSY.has(code)) return FINAL.has(code);
    const gone_ms = this.#timers.now_ms() - this.#live_ms;
    return !this.#config.patient && !(gone_ms < OWN_PLACE_MS);
  }

  /** @param {PeerState} state @param {Detail} [detail] */
  #enter(state, detail = {}) {
    if (this.#state === "closed") return;
    this.#state = state;
    this.#config.onState(state, detail);
  }

  #tearDown() {
    this.#waits.endAll();
    this.#link?.close();
    this.#link = null;
    this.#signalling?.close();
    this.#signalling = null;
  }
}
