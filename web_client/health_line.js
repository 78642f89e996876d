// @ts-check
/** One small line on the picture, while something keeps it from being as it should. */

import { Health, trafficOf } from "./health.js";
import { HEALTH_WORDS } from "./messages.js";

const LOOK_EVERY_MS = 250;
/** The first picture of a connection may take a while. */
const FIRST_PICTURE_MS = 3_000;

export class HealthLine {
  #element;
  #frames;
  #health = new Health();
  #live = false;
  #shown = 0;

  /** @param {HTMLElement} element @param {import("./figures.js").FrameCounter} frames */
  constructor(element, frames) {
    this.#element = element;
    this.#frames = frames;
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** @param {boolean} live whether there is anything to judge */
  enable(live) {
    this.#live = live;
    this.#health.begin(performance.now() + FIRST_PICTURE_MS);
    this.#look();
  }

  /** @param {import("./protocol.js").State} state */
  follow(state) {
    this.#health.takeLoad(state.load);
    this.#look();
  }

  /** @param {RTCStatsReport | null | undefined} report once a second */
  measure(report) {
    if (report) this.#health.takeTraffic(performance.now(), trafficOf(report.values()));
  }

  #look() {
    const now_ms = performance.now();
    const { shown } = this.#frames;
    // A page that nobody sees is shown no pictures, and so knows nothing of them.
    if (shown !== this.#shown || document.hidden) this.#health.takePicture(now_ms);
    this.#shown = shown;
    const words = this.#live ? HEALTH_WORDS[this.#health.trouble(now_ms)] : "";
    if (this.#element.textContent !== words) this.#element.textContent = words;
  }
}
