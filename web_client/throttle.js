// @ts-check
/** At most one call in a time, and the newest value is never lost. */

import { systemTimers } from "./signalling.js";

/**
 * @template T
 * @param {(value: T) => void} call
 * @param {number} every_ms
 * @param {import("./signalling.js").Timers} [timers]
 * @returns {(value: T) => void}
 */
export function throttle(call, every_ms, timers = systemTimers) {
  let last_ms = -Infinity;
  /** @type {{value: T} | null} */
  let pending = null;
  return (value) => {
    if (pending) {
      pending.value = value;
      return;
    }
    const wait_ms = last_ms + every_ms - timers.now_ms();
    if (wait_ms <= 0) {
      last_ms = timers.now_ms();
      call(value);
      return;
    }
    pending = { value };
    timers.set(() => {
      const newest = /** @type {{value: T}} */ (pending).value;
      pending = null;
      last_ms = timers.now_ms();
      call(newest);
    }, wait_ms);
  };
}
