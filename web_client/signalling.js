// @ts-check
/**
 * The WebSocket of one attempt: says hello, hands over checked messages, keeps the line alive.
 *
 * It ends exactly once, by `close()` from this side or by `onEnd` from the other.
 */

import { CLOSE_CODES } from "./endings.js";
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
 * Why it ended: a code of messages.js, and what the server has said of it.
 * @typedef {object} Ending
 * @property {string} code
 * @property {string} [message] the server's own sentence for people
 * @property {number | null} [retry_s] when the server wants to be asked again
 */

/**
 * @typedef {object} SignallingConfig
 * @property {() => Socket} openSocket
 * @property {string | null} avatar
 * @property {string | null} [watch] a session that is there already
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(ending: Ending) => void} onEnd called once, never after close()
 * @property {Timers} [timers]
 */

const PING_EVERY_MS = 5_000;
const SILENT_FOR_MS = 12_000;
/** An answer to a question of ours is here by then, or there is nobody. */
const ANSWER_WITHIN_MS = 2_500;

/** A timer that comes so late tells of a busy computer. */
const LATE_MS = 1_000;

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
  /** The ping that must be answered soon; 0: none. */
  #awaited = 0;
  /** @type {any} */
  #answerTimer = null;

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
    this.#socket.onclose = ({ code }) => {
      this.#end({ code: CLOSE_CODES.get(code) ?? this.#lostCode() });
    };
    // An error is always followed by a close; the handler only keeps it from being unhandled.
    this.#socket.onerror = () => {};
    this.#schedulePing();
  }

  /** Sends one message; silently nothing before the socket is open and after the end. @param {ClientMessage} message */
  send(message) {
    if (this.#open && !this.#ended) this.#socket.send(JSON.stringify(message));
  }

  /** Something may have happened to the line: asks, and ends if there is no answer soon. */
  probe() {
    if (this.#ended || this.#awaited > 0) return;
    this.#awaited = this.#ping += 1;
    this.send(say.ping(this.#awaited));
    this.#expectAnswer(ANSWER_WITHIN_MS);
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
    // Only the answer itself: other words may have been on their way while the computer slept.
    if (message.type === "pong" && message.id >= this.#awaited) {
      this.#timers.clear(this.#answerTimer);
      this.#awaited = 0;
    }
    if (message.type === "goodbye") {
      const { message: words, retry_s } = message;
      this.#end({ code: retry_s === null ? "session_over" : "goodbye", message: words, retry_s });
      return;
    }
    this.#config.onMessage(message);
  }

  /** @param {number} within_ms */
  #expectAnswer(within_ms) {
    const due_ms = this.#timers.now_ms() + within_ms;
    this.#answerTimer = this.#timers.set(() => {
      // A page that was held up itself may not have read what came meanwhile.
      if (this.#timers.now_ms() - due_ms > LATE_MS) this.#expectAnswer(LATE_MS);
      else this.#end({ code: this.#lostCode() });
    }, within_ms);
  }

  /** A dead network closes no socket: without a word for SILENT_FOR_MS the line counts as lost. */
  #schedulePing() {
    this.#pingTimer = this.#timers.set(() => {
      if (this.#timers.now_ms() - this.#heard_ms > SILENT_FOR_MS) {
        this.#end({ code: this.#lostCode() });
        return;
      }
      this.send(say.ping((this.#ping += 1)));
      this.#schedulePing();
    }, PING_EVERY_MS);
  }

  /** @returns {string} */
  #lostCode() {
    return this.#open ? "connection_lost" : "unreachable";
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#ended) return;
    this.#release();
    this.#config.onEnd(ending);
  }

  #release() {
    this.#ended = true;
    this.#timers.clear(this.#pingTimer);
    this.#timers.clear(this.#answerTimer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
