// @ts-check
/** What the viewer really sees: displayed frames, their gaps, and the delay from mouth to screen. */

const WINDOW_S = 2;

/** Counts displayed frames. Time comes in as arguments; nothing here looks at a clock. */
export class FrameCounter {
  shown = 0;
  longestGap_ms = 0;
  #last_ms = NaN;
  /** @type {{at_ms: number, frames: number}[]} */
  #recent = [];

  /**
   * @param {number} at_ms when the picture was shown
   * @param {number} [frames] pictures since the last call. More than 1: the page was told late about
   *   some, but they were on the screen, so the gap is shared among them.
   */
  show(at_ms, frames = 1) {
    if (frames < 1) return;
    this.shown += frames;
    if (!Number.isNaN(this.#last_ms)) {
      this.longestGap_ms = Math.max(this.longestGap_ms, (at_ms - this.#last_ms) / frames);
    }
    this.#last_ms = at_ms;
    this.#recent.push({ at_ms, frames });
    this.#trim(at_ms);
  }

  /** The next gap does not count: the page was hidden, or the connection is a new one. */
  pause() {
    this.#last_ms = NaN;
    this.#recent = [];
  }

  /** @param {number} now_ms @returns {number} over the last two seconds */
  fps(now_ms) {
    this.#trim(now_ms);
    const first = this.#recent[0];
    if (!first || this.#recent.length < 2) return 0;
    const later = this.#recent.slice(1).reduce((sum, { frames }) => sum + frames, 0);
    const span_ms = Math.max(now_ms - first.at_ms, 1);
    return (later * 1000) / span_ms;
  }

  /** @param {number} now_ms */
  #trim(now_ms) {
    while (this.#recent[0] && now_ms - this.#recent[0].at_ms > WINDOW_S * 1000) {
      this.#recent.shift();
    }
  }
}

/** @typedef {{delay_s: number, emitted: number}} Buffered  counted from the beginning of the stream */
/** @typedef {{roundTrip_ms: number, buffered: Buffered | null}} NetworkDelay */

/**
 * Reads the two parts of the delay that the server cannot know.
 * @param {Iterable<any>} report the values of an RTCStatsReport
 * @returns {NetworkDelay}
 */
export function networkDelay(report) {
  /** @type {NetworkDelay} */
  const delay = { roundTrip_ms: 0, buffered: null };
  for (const entry of report) {
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime >= 0) {
      delay.roundTrip_ms = entry.currentRoundTripTime * 1000;
    }
    if (entry.type === "inbound-rtp" && entry.kind === "video" && entry.jitterBufferDelay >= 0) {
      delay.buffered = {
        delay_s: entry.jitterBufferDelay,
        emitted: entry.jitterBufferEmittedCount ?? 0,
      };
    }
  }
  return delay;
}

/** @param {Buffered | null} before @param {Buffered | null} now @returns {number} ms a picture waits in the browser */
export function bufferDelay_ms(before, now) {
  if (!before || !now || now.emitted <= before.emitted) return 0;
  return Math.max(0, ((now.delay_s - before.delay_s) * 1000) / (now.emitted - before.emitted));
}
