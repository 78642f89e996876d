// @ts-check
/** How long to wait before the next attempt to connect. */

const STEPS_S = [1, 2, 4, 8, 15];
/** A full server frees a place when somebody leaves: asking every second would not help. */
const FULL_S = 15;

/**
 * Grows from 1 s to 15 s, and is spread by +-20 % so that the pages of a restarted server do not
 * all come back in the same instant.
 *
 * @param {number} attempt 0 for the first retry
 * @param {number} random in [0, 1)
 * @param {string} [code] the failure; `server_full` waits the longest step at once
 * @returns {number} milliseconds
 */
export function retryDelayMs(attempt, random, code) {
  const step_s = code === "server_full" ? FULL_S : (STEPS_S[Math.max(0, attempt)] ?? FULL_S);
  return Math.round(step_s * 1000 * (0.8 + 0.4 * random));
}
