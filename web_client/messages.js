// @ts-check
/** The words of the page: every state and every failure, in one place. */

/**
 * @typedef {object} Notice
 * @property {string} title
 * @property {string} text one or two sentences: what happened, and what to do
 * @property {string} action what the button says
 */

/** @type {Readonly<Record<string, Notice>>} */
const NOTICES = Object.freeze({
  // Before anything is sent: this browser and this microphone.
  no_webrtc: {
    title: "This browser cannot show live video",
    text: "It has no WebRTC. Open this page in a current Chrome, Edge, Firefox or Safari.",
    action: "Check again",
  },
  insecure_origin: {
    title: "The browser blocks the microphone here",
    text: "Microphones work only on https:// pages and on localhost. Open this page through https, or on the machine that runs the server as http://localhost.",
    action: "Check again",
  },
  microphone_denied: {
    title: "The microphone is not allowed",
    text: "Allow it for this page (the icon beside the address), then try again. If that does not help, look in the system's privacy settings.",
    action: "Try again",
  },
  microphone_missing: {
    title: "No microphone found",
    text: "Plug one in or switch it on, then try again.",
    action: "Try again",
  },
  microphone_busy: {
    title: "The microphone does not answer",
    text: "Another program may be using it. Close that program, or choose another microphone, and try again.",
    action: "Try again",
  },
  microphone_lost: {
    title: "The microphone is gone",
    text: "It was unplugged or switched off. Plug it in again, or choose another one.",
    action: "Try again",
  },
  // The server refuses or fails.
  server_full: {
    title: "All places are taken",
    text: "The server is talking with as many people as it can.",
    action: "Try again",
  },
  engine_failed: {
    title: "The avatar has stopped",
    text: "The server could not go on making pictures. Try again. If it happens again, the server's log says why.",
    action: "Try again",
  },
  unknown_avatar: {
    title: "This avatar is not on the server",
    text: "Reload the page and choose another one.",
    action: "Try again",
  },
  unsupported_protocol: {
    title: "Page and server do not match",
    text: "The server was updated. Reload this page.",
    action: "Reload",
  },
  no_audio: {
    title: "The server hears no microphone",
    text: "The connection has no sound in it. Choose another microphone and try again.",
    action: "Try again",
  },
  not_allowed: {
    title: "This session may not be watched from here",
    text: "Open this page on the server's own machine, or with ?token= and the server's control token in its address.",
    action: "Try again",
  },
  signed_out: {
    title: "A new link is needed",
    text: "The link of this page is used up or too old. Ask whoever runs the server for a new one, and open it in this browser.",
    action: "Try again",
  },
  too_many: {
    title: "Too many connections",
    text: "Your address has as many open as the server allows. Close another window of this page, then try again.",
    action: "Try again",
  },
  session_over: {
    title: "This session is over",
    text: "The server has ended it.",
    action: "Start again",
  },
  session_gone: {
    title: "The watched session is over",
    text: "It does not come back. The newest session, whichever that is, can be watched with ?watch=latest in this page's address.",
    action: "Look again",
  },
  // The way between.
  unreachable: {
    title: "The server does not answer",
    text: "Check that it is running and that you are online.",
    action: "Try now",
  },
  offline: {
    title: "This device is offline",
    text: "As soon as there is a network again, the page tries again by itself.",
    action: "Try now",
  },
  connection_lost: {
    title: "Connection lost",
    text: "The way to the server broke.",
    action: "Try now",
  },
  media_blocked: {
    title: "Sound and picture do not get through",
    text: "Your network blocks the direct way (UDP) to the server. Try another network, or ask the host for a TURN server.",
    action: "Try now",
  },
  relay_silent: {
    title: "Sound and picture do not get through",
    text: "Your network blocks the direct way (UDP), and the host's TURN server does not answer. Try another network, or tell the host.",
    action: "Try now",
  },
  server_stopping: {
    title: "The server said goodbye",
    text: "It is being stopped or restarted.",
    action: "Try now",
  },
  goodbye: {
    title: "The server said goodbye",
    text: "It wants to be asked again in a moment.",
    action: "Try now",
  },
});

/** A break of what worked a moment ago: what is said of it, below one and the same calm title. */
const COMING_BACK = Object.freeze({
  title: "Connection lost, coming back…",
  action: "Try now",
  /** @type {Readonly<Record<string, string>>} */
  texts: Object.freeze({
    connection_lost: "Nothing needs to be set again.",
    unreachable: "The server does not answer yet.",
    offline: "This device is offline at the moment.",
    server_stopping: "The server is being restarted.",
    goodbye: "The server is being restarted.",
    server_full: "Your place is not free yet.",
    too_many: "The server still counts the old connection.",
  }),
});

/** Where the server's own sentence says more than any that could be written here. */
const SERVER_KNOWS = new Set(["server_full", "too_many", "goodbye", "session_over"]);

/** @type {Notice} */
const UNKNOWN = Object.freeze({
  title: "Something went wrong",
  text: "Try again. If it happens again, the server's log says why.",
  action: "Try again",
});

/**
 * @param {string} code a failure of this page, or an error code of the server
 * @param {{again?: boolean, retry_ms?: number, message?: string}} [detail] `again` with `retry_ms`: a
 *   break of what worked before; `message`: the server's own sentence
 * @returns {Notice}
 */
export function noticeFor(code, { again = false, retry_ms, message } = {}) {
  const said = SERVER_KNOWS.has(code) && message ? asSentence(message) : undefined;
  const calm = COMING_BACK.texts[code];
  if (again && retry_ms !== undefined && calm !== undefined) {
    return { title: COMING_BACK.title, text: said ?? calm, action: COMING_BACK.action };
  }
  const notice = NOTICES[code] ?? UNKNOWN;
  return said ? { ...notice, text: said } : notice;
}

/** The server's goodbyes are short phrases. @param {string} phrase @returns {string} */
function asSentence(phrase) {
  const end = /[.!?…]$/.test(phrase) ? "" : ".";
  return phrase.charAt(0).toUpperCase() + phrase.slice(1) + end;
}

/** @param {number} seconds whole seconds @returns {string} */
export function countdownText(seconds) {
  if (seconds <= 0) return "Trying again now…";
  return `Trying again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
}

export const WORDS = Object.freeze({
  ready: "Ready",
  asking: "Waiting for the microphone",
  connecting: "Connecting",
  listening: "Listening",
  speaking: "Speaking",
  muted: "Muted",
  waiting: "Reconnecting",
  failed: "Stopped",
  askingHint: "Please allow the microphone in the browser's question.",
  connectingHint: "Waking the avatar…",
  noSound: "Nothing to hear from this microphone. Is it switched off, or is it another one?",
  microphoneSwitched: "The microphone was unplugged. Now using another one.",
  microphoneKept: "That microphone cannot be used. The one before is still on.",
  voiceBlocked: "The browser does not let the voice play yet. Click the switch once more.",
});

/**
 * The one line about the quality of what is live.
 * @type {Readonly<Record<import("./health.js").Trouble, string>>}
 */
export const HEALTH_WORDS = Object.freeze({
  "": "",
  frozen: "No new pictures at the moment.",
  overloaded: "The server has too much to do: the picture stutters, the voice does not.",
  reduced: "The server is busy: a little fewer pictures for now.",
  lossy: "Your connection loses packets: picture and voice may stutter.",
  slow: "Your connection is slow: what you do here shows late.",
});

/** What is said otherwise where somebody else's session is watched. */
export const WATCH_WORDS = Object.freeze({
  start: "Watch",
  hint: "Shows a session that runs on this server. Nothing is heard of you.",
  listening: "Watching",
  quiet: "quiet",
  noSession: "Waiting for a session to watch…",
  waiting: "Waiting",
  /** @param {string} session an id, or "latest" */
  watching: (session) =>
    session === "latest" ? "You watch the newest session." : `You watch session ${session}.`,
  hear: "Hear the voice",
  hearHelp: "In time with the lips.",
});

/** Of the presets' panel and of the line that tells what became of a preset. */
export const PRESET_WORDS = Object.freeze({
  fresh: "New preset",
  /** @param {string} label */
  change: (label) => `Change “${label}”`,
  delete: "Delete",
  hide: "Hide",
  undo: "Undo",
  unnamed: "Give it a name first.",
  unanswered: "The server did not answer. Try again.",
  /** @param {string} label */
  saved: (label) => `“${label}” is saved.`,
  /** @param {string} label */
  back: (label) => `“${label}” is back.`,
  /**
   * @param {{label: string, own: boolean}} preset as it was
   * @param {{label: string} | undefined} left what has its name now
   */
  deleted(preset, left) {
    if (left) return `“${left.label}” is the avatar's own again.`;
    return preset.own ? `“${preset.label}” is deleted.` : `“${preset.label}” is hidden.`;
  },
});

/** @param {string} label the avatar's name @param {boolean} [watching] @returns {string} */
export function leadText(label, watching = false) {
  return watching ? `See and hear ${label}.` : `Talk, and ${label} says it.`;
}
