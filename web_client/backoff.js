// @ts-check
/** How long to wait before the next attempt to connect. */

const STEPS_S = [1, 2, 4, 8, 15];
/** A full server frees a place when somebody leaves: asking every second would not help. */
const FULL_S = 15;

/** Somebody may begin to speak at any moment, and asking costs the server nothing. */
const NO_SESSION_S = 1;

/**
 * Grows from 1 s to 15 s, and is spread by +-20 % so that the pages of a restarted server do not
 * all come back in the same instant.
 *
 * @param {number} attempt 0 for the first retry
 * @param {number} random in [0, 1)
 * @param {string} [code] the failure; `server_full` waits the longest step at once, and
 *   `unknown_session` always the shortest
 * @returns {number} milliseconds
 */
export function retryDelayMs(attempt, random, code) {
  return Math.round(step_s(attempt, code) * 1000 * (0.8 + 0.4 * random));
}

/** @param {number} attempt @param {string} [code] @returns {number} */
function step_s(attempt, code) {
  if (code === "server_full") return FULL_S;
  if (code === "unknown_session") return NO_SESSION_S;
  return STEPS_S[Math.max(0, attempt)] ?? FULL_S;
}
