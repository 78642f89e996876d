// @ts-check
/** What the ways in which a conversation ends mean for the next attempt. */

/** Refused for want of room; trying again is not in vain, but no use in a hurry. */
export const BUSY = new Set(["server_full", "too_many"]);

/** Answers to the hello or the offer that end the attempt, though not the conversation. */
const REFUSED = new Set(["unknown_session"]);
/** What would come to the same end without a change. */
export const FINAL = new Set([
  "not_allowed",
  "signed_out",
  "session_gone",
  "session_over",
  "engine_failed",
  "unknown_avatar",
  "unsupported_protocol",
  "no_audio",
  "bad_sdp",
  "hello_first",
  "bad_message",
]);

/** What a close code of the server means; docs/protocol.md has the table. */
export const CLOSE_CODES = new Map([
  [1001, "server_stopping"],
  [1013, "server_full"],
  [4401, "signed_out"],
  [4429, "too_many"],
]);

/** @param {string} code of an error before anything is live @returns {boolean} */
export const endsAnAttempt = (code) => FINAL.has(code) || REFUSED.has(code);

/**
 * The server has one word for a single wish that is refused and for the whole page: only the latter
 * ends the conversation.
 *
 * @param {import("./protocol.js").ServerError} error
 * @returns {string} a code of messages.js
 */
export const codeOfError = ({ code, fatal }) =>
  fatal && code === "not_allowed" ? "signed_out" : code;
