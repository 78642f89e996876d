// @ts-check
/** The card of live figures, and the delay from mouth to screen that only the page can know. */

import { bufferDelay_ms, networkDelay } from "./figures.js";

/** @typedef {import("./protocol.js").State} State */

export class LiveFigures {
  latency_ms = NaN;

  #elements;
  #frames;
  #quietWord;
  /** @type {State | null} */
  #state = null;
  /** @type {import("./figures.js").Buffered | null} */
  #bufferedBefore = null;

  /**
   * @param {{fps: HTMLElement, latency: HTMLElement, state: HTMLElement, late: HTMLElement}} elements
   * @param {import("./figures.js").FrameCounter} frames
   * @param {string} quietWord what the avatar does while it does not speak
   */
  constructor(elements, frames, quietWord) {
    this.#elements = elements;
    this.#frames = frames;
    this.#quietWord = quietWord;
  }

  /** @param {State | null} state null: nothing is live */
  show(state) {
    this.#state = state;
    if (!state) {
      this.latency_ms = NaN;
      this.#bufferedBefore = null;
    }
    const { fps, latency, state: mood, late } = this.#elements;
    const { latency_ms } = this;
    fps.textContent = state ? this.#frames.fps(performance.now()).toFixed(1) : "–";
    latency.textContent = latency_ms >= 0 ? `${Math.round(latency_ms)} ms` : "–";
    mood.textContent = state ? (state.speaking ? "speaking" : this.#quietWord) : "–";
    late.textContent = state ? String(state.late) : "–";
  }

  /**
   * Mouth to screen: what the server measures, the way there and back, and the browser's own buffer.
   *
   * @param {RTCStatsReport | null | undefined} report once a second
   */
  measure(report) {
    if (!report || !this.#state) return;
    const { roundTrip_ms, buffered } = networkDelay(report.values());
    const waiting_ms = bufferDelay_ms(this.#bufferedBefore, buffered);
    this.#bufferedBefore = buffered;
    this.latency_ms = this.#state.latency_ms + roundTrip_ms + waiting_ms;
  }
}
