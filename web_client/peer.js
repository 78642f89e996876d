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
import { say } from "./protocol.js";
import { Signalling, systemTimers } from "./signalling.js";
import { Waits } from "./waits.js";

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */
/** @typedef {import("./protocol.js").Welcome} Welcome */
/** @typedef {import("./protocol.js").State} State */
/** @typedef {import("./protocol.js").Preset} Preset */
/** @typedef {import("./protocol.js").ServerError} ServerError */
/** @typedef {import("./signalling.js").Socket} Socket */
/** @typedef {import("./signalling.js").Timers} Timers */
/** @typedef {"connecting" | "live" | "waiting" | "failed" | "closed"} PeerState */

/**
 * @typedef {object} PeerConfig
 * @property {() => Socket} openSocket
 * @property {MediaStreamTrack | null} microphone null: only see and hear
 * @property {string | null} [avatar]
 * @property {string | null} [watch] id of the session to watch, or "latest"
 * @property {boolean} [persistent] never gives up: for a screen that nobody stands at
 * @property {(state: PeerState, detail: {code?: string, retry_ms?: number}) => void} onState
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
/** ICE often heals by itself: a short break of a phone's network is not worth a new session. */
const HEAL_WITHIN_MS = 4_000;
/** So long alive, and the next break starts again with the shortest wait. */
const STABLE_AFTER_MS = 10_000;

/** Answers to the hello or the offer that end the attempt, though not the conversation. */
const REFUSED = new Set(["unknown_session"]);
/** Errors after which a retry without a change would end the same way. */
const FINAL = new Set([
  "not_allowed",
  "engine_failed",
  "unknown_avatar",
  "unsupported_protocol",
  "no_audio",
  "bad_sdp",
  "hello_first",
  "bad_message",
]);

export class Peer {
  #config;
  #timers;
  #random;
  #microphone;
  /** @type {PeerState} */
  #state = "connecting";
  #attempt = 0;
  /** @type {Signalling | null} */
  #signalling = null;
  /** @type {RTCPeerConnection | null} */
  #connection = null;
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

  /** Speaks with another microphone from now on, in this attempt and in later ones. @param {MediaStreamTrack} track */
  async replaceMicrophone(track) {
    this.#microphone = track;
    const sender = this.#connection?.getTransceivers()[0]?.sender;
    await sender?.replaceTrack(track);
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async stats() {
    return this.#state === "live" && this.#connection ? this.#connection.getStats() : null;
  }

  /** Ends everything; may be called again. */
  close() {
    this.#state = "closed";
    this.#tearDown();
  }

  #start() {
    this.#tearDown();
    this.#enter("connecting");
    this.#waits.start("connect", CONNECT_WITHIN_MS, () =>
      this.#lose(this.#connection ? "media_blocked" : "unreachable"),
    );
    this.#signalling = new Signalling({
      openSocket: this.#config.openSocket,
      avatar: this.#config.avatar ?? null,
      watch: this.#config.watch ?? null,
      timers: this.#timers,
      onMessage: (message) => this.#receive(message),
      onEnd: (code) => this.#lose(code),
    });
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "welcome":
        this.#config.onWelcome(message);
        if (this.#state === "connecting") void this.#offer(message.ice_servers);
        break;
      case "answer":
        void this.#accept(message.sdp);
        break;
      case "state":
        this.#config.onServerState(message);
        break;
      case "presets":
        this.#config.onPresets?.(message.presets);
        break;
      case "error":
        if (message.fatal || (this.#state === "connecting" && refuses(message.code))) {
          this.#lose(message.code);
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
  async #offer(iceServers) {
    const create = this.#config.createConnection ?? ((config) => new RTCPeerConnection(config));
    const connection = (this.#connection = create({ iceServers }));
    if (this.#microphone) connection.addTransceiver(this.#microphone, { direction: "sendrecv" });
    else connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.ontrack = (event) => {
      if (this.#connection !== connection) return;
      lowDelay(event.receiver);
      const stream = event.streams[0];
      if (stream) this.#config.onStream(stream);
    };
    // Candidates may come before the offer is on its way: the server would not know what they are for.
    let offered = false;
    /** @type {(RTCIceCandidate | null)[]} */
    const early = [];
    connection.onicecandidate = ({ candidate }) => {
      if (this.#connection !== connection) return;
      if (offered) this.send(say.candidate(candidate));
      else early.push(candidate);
    };
    connection.onconnectionstatechange = () => {
      if (this.#connection === connection) this.#follow(connection.connectionState);
    };
    try {
      await connection.setLocalDescription();
      if (this.#connection !== connection) return;
      this.send(say.offer(connection.localDescription?.sdp ?? ""));
      offered = true;
      early.forEach((candidate) => this.send(say.candidate(candidate)));
    } catch (error) {
      if (this.#connection !== connection) return;
      console.warn("The browser could not make an offer.", error);
      this.#lose("bad_sdp");
    }
  }

  /** @param {string} sdp */
  async #accept(sdp) {
    const connection = this.#connection;
    if (!connection || connection.signalingState !== "have-local-offer") return;
    try {
      await connection.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (this.#connection !== connection) return;
      console.warn("The browser could not use the answer.", error);
      this.#lose("bad_sdp");
    }
  }

  /** @param {RTCPeerConnectionState} connectionState */
  #follow(connectionState) {
    switch (connectionState) {
      case "connected":
        this.#waits.end("heal");
        if (this.#state !== "connecting") return;
        this.#waits.end("connect");
        this.#waits.start("stable", STABLE_AFTER_MS, () => (this.#attempt = 0));
        this.#enter("live");
        break;
      case "disconnected":
        this.#waits.start("heal", HEAL_WITHIN_MS, () => this.#lose("connection_lost"));
        break;
      case "failed":
      case "closed":
        this.#lose(this.#state === "live" ? "connection_lost" : "media_blocked");
        break;
    }
  }

  /** The one way down: tears the attempt down, then waits for the next or gives up. @param {string} code */
  #lose(code) {
    if (this.#state === "closed" || this.#state === "failed" || this.#state === "waiting") return;
    this.#tearDown();
    if (FINAL.has(code) && !this.#config.persistent) {
      this.#enter("failed", { code });
      return;
    }
    const retry_ms = retryDelayMs(this.#attempt, this.#random(), code);
    // A server without a session to watch is well: what comes after it is a first attempt again.
    this.#attempt = code === "unknown_session" ? 0 : this.#attempt + 1;
    this.#waits.start("retry", retry_ms, () => this.#start());
    this.#enter("waiting", { code, retry_ms });
  }

  /** @param {PeerState} state @param {{code?: string, retry_ms?: number}} [detail] */
  #enter(state, detail = {}) {
    if (this.#state === "closed") return;
    this.#state = state;
    this.#config.onState(state, detail);
  }

  #tearDown() {
    this.#waits.endAll();
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    const signalling = this.#signalling;
    this.#signalling = null;
    signalling?.close();
  }
}

/** @param {string} code @returns {boolean} */
const refuses = (code) => FINAL.has(code) || REFUSED.has(code);

/**
 * Asks for the smallest buffer the network allows. The two are older and newer names of one wish;
 * browsers that know neither keep their own choice.
 * @param {RTCRtpReceiver} receiver
 */
function lowDelay(receiver) {
  const hints =
    /** @type {{jitterBufferTarget?: number | null, playoutDelayHint?: number | null}} */ (
      receiver
    );
  if ("jitterBufferTarget" in receiver) hints.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) hints.playoutDelayHint = 0;
}
