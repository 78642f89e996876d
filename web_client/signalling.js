// @ts-check
/**
 * The WebSocket of one attempt: says hello, hands over checked messages, keeps the line alive.
 *
 * It ends exactly once, by `close()` from this side or by `onEnd` from the other.
 */

import { parse, ProtocolError, say } from "./protocol.js";

/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */
/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */

/**
 * What the page needs of a timer, so that tests can bring their own.
 * @typedef {object} Timers
 * @property {(call: () => void, delay_ms: number) => any} set
 * @property {(id: any) => void} clear
 * @property {() => number} now_ms
 */

/** @type {Timers} */
export const systemTimers = {
  set: (call, delay_ms) => setTimeout(call, delay_ms),
  clear: (id) => clearTimeout(id),
  now_ms: () => performance.now(),
};

/** The part of a WebSocket that is used here.
 * @typedef {Pick<WebSocket, "send" | "close" | "onopen" | "onmessage" | "onclose" | "onerror">} Socket */

/**
 * @typedef {object} SignallingConfig
 * @property {() => Socket} openSocket
 * @property {string | null} avatar
 * @property {string | null} [watch] a session that is there already
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(code: string) => void} onEnd called once, never after close()
 * @property {Timers} [timers]
 */

const PING_EVERY_MS = 5_000;
const SILENT_FOR_MS = 12_000;

export class Signalling {
  #config;
  #timers;
  #socket;
  #open = false;
  #ended = false;
  #heard_ms = 0;
  #ping = 0;
  /** @type {any} */
  #pingTimer = null;

  /** @param {SignallingConfig} config */
  constructor(config) {
    this.#config = config;
    this.#timers = config.timers ?? systemTimers;
    this.#heard_ms = this.#timers.now_ms();
    this.#socket = config.openSocket();
    this.#socket.onopen = () => {
      this.#open = true;
      this.send(say.hello(config.avatar, config.watch));
    };
    this.#socket.onmessage = (event) => this.#receive(event.data);
    this.#socket.onclose = () => this.#end(this.#open ? "connection_lost" : "unreachable");
    // An error is always followed by a close; the handler only keeps it from being unhandled.
    this.#socket.onerror = () => {};
    this.#schedulePing();
  }

  /** Sends one message; silently nothing before the socket is open and after the end. @param {ClientMessage} message */
  send(message) {
    if (this.#open && !this.#ended) this.#socket.send(JSON.stringify(message));
  }

  /** Says goodbye and closes. May be called again. */
  close() {
    if (this.#ended) return;
    this.send(say.bye());
    this.#release();
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#ended) return;
    this.#heard_ms = this.#timers.now_ms();
    let message;
    try {
      message = parse(data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // One bad message of a newer server must not end a conversation.
      console.warn(`Message of the server ignored. ${error.message}`);
      return;
    }
    if (message.type === "goodbye") {
      // The reasons are words for people; only the server's own end deserves a word of its own.
      this.#end(message.reason.includes("stopping") ? "server_stopping" : "connection_lost");
      return;
    }
    this.#config.onMessage(message);
  }

  /** A dead network closes no socket: without a word for SILENT_FOR_MS the line counts as lost. */
  #schedulePing() {
    this.#pingTimer = this.#timers.set(() => {
      if (this.#timers.now_ms() - this.#heard_ms > SILENT_FOR_MS) {
        this.#end(this.#open ? "connection_lost" : "unreachable");
        return;
      }
      this.send(say.ping((this.#ping += 1)));
      this.#schedulePing();
    }, PING_EVERY_MS);
  }

  /** @param {string} code */
  #end(code) {
    if (this.#ended) return;
    this.#release();
    this.#config.onEnd(code);
  }

  #release() {
    this.#ended = true;
    this.#timers.clear(this.#pingTimer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
