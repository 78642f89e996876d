// @ts-check
/** How long to wait before the next attempt to connect. */

import { BUSY } from "./endings.js";

/** A server that is restarted is back within seconds: the first attempts come close together. */
const STEPS_S = [0.5, 1, 2, 3, 5, 8];
const LONGEST_S = 15;
/** A full server frees a place when somebody leaves: asking every second would not help. */
const FULL_S = 15;
/** Somebody may begin to speak at any moment, and asking costs the server nothing. */
const NO_SESSION_S = 1;

/**
 * Grows from half a second to 15 s, and is spread by +-20 % so that the pages of a restarted server
 * do not all come back in the same instant.
 *
 * @param {number} attempt 0 for the first retry
 * @param {number} random in [0, 1)
 * @param {{code?: string, retry_s?: number | null}} [why] the failure, of which `unknown_session` is
 *   asked again always soon; and the wait that the server itself has named, which is only stretched,
 *   by up to a quarter
 * @returns {number} milliseconds
 */
export function retryDelayMs(attempt, random, { code, retry_s } = {}) {
  if (retry_s) return Math.round(retry_s * 1000 * (1 + 0.25 * random));
  return Math.round(step_s(attempt, code) * 1000 * (0.8 + 0.4 * random));
}

/** @param {number} attempt @param {string} [code] @returns {number} */
function step_s(attempt, code) {
  if (code === "unknown_session") return NO_SESSION_S;
  if (code && BUSY.has(code)) return FULL_S;
  return STEPS_S[Math.max(0, attempt)] ?? LONGEST_S;
}
