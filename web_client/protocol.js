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
/**
 * A named pose. `natural` is the share of the speech's own movement that stays, 0 to 1; after `hold_s`
 * the head is free again (null: held for good); `own` is true where it comes from the user's file.
 * @typedef {{name: string, label: string, ease_s: number, natural: number, hold_s: number | null,
 *   own: boolean} & Pose} Preset
 */
/**
 * @typedef {{name: string, label: string, size: number, fps: number, synthetic: boolean,
 *   consent: {person: string, agreed_by: string, statement: string, uses: string[], date: string},
 *   pose_range: PoseRange, presets: Preset[]}} Avatar  `synthetic`: nobody's likeness is shown
 */
/** @typedef {{name: string, script: string | null}} PluginInfo  `script`: address of an ES module for the page */
/**
 * @typedef {{type: "welcome", protocol: number, session: string, avatar: Avatar, synthetic: boolean,
 *   mark: string, profile: string, delay_ms: number, ice_servers: RTCIceServer[], can_edit: boolean, can_steer: boolean, plugins: PluginInfo[]}} Welcome
 */
/** @typedef {{type: "presets", presets: Preset[]}} Presets */
/** @typedef {{type: "answer", sdp: string}} Answer */
/** @typedef {"ok" | "reduced" | "overloaded"} Load  reduced: the server leaves out some pictures now */
/**
 * @typedef {{type: "state", speaking: boolean, fps: number, latency_ms: number, late: number,
 *   pose: Pose, preset: string | null, muted: boolean, load: Load}} State
 */
/** @typedef {{type: "error", code: string, message: string, fatal: boolean}} ServerError */
/** @typedef {{type: "pong", id: number}} Pong */
/** @typedef {{type: "goodbye", message: string, retry_s: number | null}} Goodbye  `retry_s` null: do not come back */
/** @typedef {Welcome | Answer | State | Presets | ServerError | Pong | Goodbye} ServerMessage */
/** @typedef {{type: string, [field: string]: unknown}} ClientMessage */

/** A message from the server that does not follow docs/protocol.md. */
export class ProtocolError extends Error {
  name = "ProtocolError";
}

/** Builders of everything the page may say. */
export const say = Object.freeze({
  /**
   * @param {string | null} [avatar] left out: the server's own
   * @param {string | null} [watch] a session's id or "latest": see and hear it instead of speaking
   * @returns {ClientMessage}
   */
  hello: (avatar, watch) => ({
    type: "hello",
    protocol: PROTOCOL,
    ...(avatar ? { avatar } : {}),
    ...(watch ? { watch } : {}),
  }),
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
  /**
   * @param {Pose} pose degrees
   * @param {number} [ease_s] 0.05 to 5
   * @param {number} [natural] 0 to 1
   * @returns {ClientMessage}
   */
  pose: ({ yaw, pitch, roll }, ease_s, natural) => ({
    type: "pose",
    yaw,
    pitch,
    roll,
    ...(ease_s === undefined ? {} : { ease_s }),
    ...(natural === undefined ? {} : { natural }),
  }),
  /** @param {string} name @returns {ClientMessage} */
  preset: (name) => ({ type: "preset", name }),
  /** @returns {ClientMessage} */
  natural: () => ({ type: "natural" }),
  /** @param {boolean} on @returns {ClientMessage} */
  mute: (on) => ({ type: "mute", on }),
  /** Ends what an agent is saying. @returns {ClientMessage} */
  interrupt: () => ({ type: "interrupt" }),
  /** @param {string} file of the server's voice folder @returns {ClientMessage} */
  voiceFile: (file) => ({ type: "say", file }),
  /** @param {Omit<Preset, "own">} preset @returns {ClientMessage} */
  savePreset: ({ name, label, yaw, pitch, roll, ease_s, natural, hold_s }) => ({
    type: "save_preset",
    name,
    label,
    yaw,
    pitch,
    roll,
    ease_s,
    natural,
    ...(hold_s === null ? {} : { hold_s }),
  }),
  /** @param {string} name @returns {ClientMessage} */
  deletePreset: (name) => ({ type: "delete_preset", name }),
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

/** @param {string[]} words @returns {Check} */
const oneOf = (words) => (value, path) =>
  void (
    words.includes(/** @type {string} */ (value)) || refuse(path, `one of ${words.join(", ")}`)
  );
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
const preset = object({
  name: text,
  label: text,
  ...pose,
  ease_s: number,
  natural: number,
  hold_s: nullable(number),
  own: flag,
});
/** @type {Check} */
export const checkAvatar = object({
  name: text,
  label: text,
  size: integer,
  fps: number,
  synthetic: flag,
  consent: object({
    person: text,
    agreed_by: text,
    statement: text,
    uses: list(text),
    date: text,
  }),
  pose_range: object({ yaw: interval, pitch: interval, roll: interval }),
  presets: list(preset),
});

/** @type {Record<string, Check>} */
const SERVER_MESSAGES = {
  welcome: object({
    protocol: integer,
    session: text,
    avatar: checkAvatar,
    synthetic: flag,
    mark: text,
    profile: text,
    delay_ms: number,
    ice_servers: list(object({})),
    can_edit: flag,
    can_steer: flag,
    plugins: list(object({ name: text, script: nullable(text) })),
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
    load: oneOf(["ok", "reduced", "overloaded"]),
  }),
  presets: object({ presets: list(preset) }),
  error: object({ code: text, message: text, fatal: flag }),
  pong: object({ id: integer }),
  goodbye: object({ message: text, retry_s: nullable(number) }),
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
