// @ts-check
/**
 * The messages of the WebSocket, as types, builders and one strict parser.
 *
 * docs/protocol.md is the description; tests/fixtures/protocol holds the examples
 * that this file and the server's own parser are both tested against.
 */

export const PROTOCOL = 1;

/** @typedef {{yaw: number, pitch: number, roll: number}} Pose  degrees */
/** @typedef {{yaw: [number, number], pitch: [number, number], roll: [number, number]}} PoseRange  degrees */
/** @typedef {{name: string, label: string} & Pose} Preset */
/**
 * @typedef {{name: string, label: string, size: number, fps: number, synthetic: boolean,
 *   pose_range: PoseRange, presets: Preset[]}} Avatar
 */
/**
 * @typedef {{type: "welcome", protocol: number, session: string, avatar: Avatar, profile: string,
 *   delay_ms: number, ice_servers: RTCIceServer[]}} Welcome
 */
/** @typedef {{type: "answer", sdp: string}} Answer */
/**
 * @typedef {{type: "state", speaking: boolean, fps: number, latency_ms: number, late: number,
 *   pose: Pose, preset: string | null, muted: boolean}} State
 */
/** @typedef {{type: "error", code: string, message: string, fatal: boolean}} ServerError */
/** @typedef {{type: "pong", id: number}} Pong */
/** @typedef {{type: "goodbye", reason: string}} Goodbye */
/** @typedef {Welcome | Answer | State | ServerError | Pong | Goodbye} ServerMessage */
/** @typedef {{type: string, [field: string]: unknown}} ClientMessage */

/** A message from the server that does not follow docs/protocol.md. */
export class ProtocolError extends Error {
  name = "ProtocolError";
}

/** Builders of everything the page may say. */
export const say = Object.freeze({
  /** @param {string | null} [avatar] @returns {ClientMessage} */
  hello: (avatar) =>
    avatar ? { type: "hello", protocol: PROTOCOL, avatar } : { type: "hello", protocol: PROTOCOL },
  /** @param {string} sdp @returns {ClientMessage} */
  offer: (sdp) => ({ type: "offer", sdp }),
  /**
   * null stands for "no more candidates". `usernameFragment` is left out: it is not in the protocol.
   * @param {{candidate?: string, sdpMid?: string | null, sdpMLineIndex?: number | null} | null} candidate
   * @returns {ClientMessage}
   */
  candidate: (candidate) => ({
    type: "candidate",
    candidate: candidate?.candidate ?? "",
    sdpMid: candidate?.sdpMid ?? null,
    sdpMLineIndex: candidate?.sdpMLineIndex ?? null,
  }),
  /** @param {Pose} pose degrees @param {number} [ease_s] 0.05 to 5 @returns {ClientMessage} */
  pose: ({ yaw, pitch, roll }, ease_s) =>
    ease_s === undefined
      ? { type: "pose", yaw, pitch, roll }
      : { type: "pose", yaw, pitch, roll, ease_s },
  /** @param {string} name @returns {ClientMessage} */
  preset: (name) => ({ type: "preset", name }),
  /** @returns {ClientMessage} */
  natural: () => ({ type: "natural" }),
  /** @param {boolean} on @returns {ClientMessage} */
  mute: (on) => ({ type: "mute", on }),
  /** @param {number} id @returns {ClientMessage} */
  ping: (id) => ({ type: "ping", id }),
  /** @returns {ClientMessage} */
  bye: () => ({ type: "bye" }),
});

/** @typedef {(value: unknown, path: string) => void} Check  throws ProtocolError */

/** @param {string} path @param {string} wanted @returns {never} */
function refuse(path, wanted) {
  throw new ProtocolError(`${path}: ${wanted} is needed.`);
}

/** @type {Check} */
const text = (value, path) => void (typeof value === "string" || refuse(path, "a text"));
/** @type {Check} */
const flag = (value, path) => void (typeof value === "boolean" || refuse(path, "true or false"));
/** @type {Check} */
const number = (value, path) => void (Number.isFinite(value) || refuse(path, "a finite number"));
/** @type {Check} */
const integer = (value, path) => void (Number.isInteger(value) || refuse(path, "a whole number"));

/** @param {Check} check @returns {Check} */
const nullable = (check) => (value, path) => void (value === null || check(value, path));
/** @param {Check} check @returns {Check} */
const list = (check) => (value, path) => {
  if (!Array.isArray(value)) refuse(path, "a list");
  value.forEach((item, index) => check(item, `${path}[${index}]`));
};
/** Fields that are not named here are let through: a newer server may add some.
 * @param {Record<string, Check>} fields @returns {Check} */
const object = (fields) => (value, path) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse(path, "an object");
  }
  const record = /** @type {Record<string, unknown>} */ (value);
  for (const [name, check] of Object.entries(fields)) check(record[name], `${path}.${name}`);
};
/** @type {Check} */
const interval = (value, path) => {
  list(number)(value, path);
  const [low, high] = /** @type {number[]} */ (value);
  if (low === undefined || high === undefined || low > high) refuse(path, "[least, most]");
};

const pose = { yaw: number, pitch: number, roll: number };
/** @type {Check} */
export const checkAvatar = object({
  name: text,
  label: text,
  size: integer,
  fps: number,
  synthetic: flag,
  pose_range: object({ yaw: interval, pitch: interval, roll: interval }),
  presets: list(object({ name: text, label: text, ...pose })),
});

/** @type {Record<string, Check>} */
const SERVER_MESSAGES = {
  welcome: object({
    protocol: integer,
    session: text,
    avatar: checkAvatar,
    profile: text,
    delay_ms: number,
    ice_servers: list(object({})),
  }),
  answer: object({ sdp: text }),
  state: object({
    speaking: flag,
    fps: number,
    latency_ms: number,
    late: integer,
    pose: object(pose),
    preset: nullable(text),
    muted: flag,
  }),
  error: object({ code: text, message: text, fatal: flag }),
  pong: object({ id: integer }),
  goodbye: object({ reason: text }),
};

/**
 * Reads one message of the server.
 *
 * @param {unknown} data the text of one WebSocket message
 * @returns {ServerMessage}
 * @throws {ProtocolError} naming the field that is wrong
 */
export function parse(data) {
  if (typeof data !== "string") throw new ProtocolError("The message is not text.");
  /** @type {any} */
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    throw new ProtocolError("The message is not JSON.");
  }
  const type = message?.type;
  if (typeof type !== "string" || !Object.hasOwn(SERVER_MESSAGES, type)) {
    throw new ProtocolError(`The message type ${JSON.stringify(type)} is not known.`);
  }
  SERVER_MESSAGES[type]?.(message, type);
  return message;
}
