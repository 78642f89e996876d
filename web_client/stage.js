// @ts-check
/** The stage: preview, live picture, state badge, and what stands in front of the picture. */

import { countdownText, leadText } from "./messages.js";
import { FrameCounter } from "./figures.js";
import { Still } from "./still.js";

/** @typedef {"idle" | "busy" | "live" | "notice"} View */

export class Stage {
  frames = new FrameCounter();

  #elements;
  #watching;
  #still;
  /** A stream is being played, so that its next picture is a new one. */
  #playing = false;
  /** @type {number | undefined} */
  #countdown;

  /**
   * @param {{stage: HTMLElement, preview: HTMLImageElement, video: HTMLVideoElement,
   *   still: HTMLCanvasElement, stateText: HTMLElement, synthetic: HTMLElement, pitch: HTMLElement, lead: HTMLElement,
   *   wait: HTMLElement, waitText: HTMLElement, notice: HTMLElement, title: HTMLElement,
   *   text: HTMLElement, countdown: HTMLElement, action: HTMLButtonElement,
   *   wish: HTMLButtonElement, stop: HTMLButtonElement}} elements
   * @param {boolean} [watching] somebody else speaks
   */
  constructor(elements, watching = false) {
    this.#elements = elements;
    this.#watching = watching;
    this.#still = new Still(elements.video, elements.still);
    const { preview } = elements;
    preview.addEventListener("load", () => (preview.hidden = false));
    preview.addEventListener("error", () => (preview.hidden = true));
    this.#countFrames();
    document.addEventListener("visibilitychange", () => this.frames.pause());
  }

  /**
   * @param {{name: string, label: string, synthetic: boolean, consent: {statement: string}}} avatar
   */
  setAvatar(avatar) {
    const { preview, lead, synthetic } = this.#elements;
    const source = `avatar/${encodeURIComponent(avatar.name)}/preview.png`;
    if (preview.getAttribute("src") !== source) preview.src = source;
    preview.alt = `${avatar.label}, before the start`;
    this.#elements.video.setAttribute("aria-label", `${avatar.label}, live`);
    lead.textContent = leadText(avatar.label, this.#watching);
    // Every picture is generated; whether somebody real lent the face is another question.
    synthetic.hidden = false;
    synthetic.textContent = avatar.synthetic ? "Synthetic person" : "Synthetic video";
    synthetic.title = avatar.consent.statement;
  }

  /** @param {string} words @param {string} mood for the colour of the badge */
  setState(words, mood) {
    const { stage, stateText } = this.#elements;
    stage.dataset["mood"] = mood;
    write(stateText, words);
  }

  showIdle() {
    this.#view("idle");
  }

  showLive() {
    this.#view("live");
  }

  /** @param {string} words */
  showBusy(words) {
    this.#elements.waitText.textContent = words;
    this.#view("busy");
  }

  /**
   * @param {import("./messages.js").Notice} words
   * @param {{retry_ms?: number, canWait?: boolean}} [more] `retry_ms`: with a countdown to the next
   *   attempt; `canWait`: with the offer to wait for a place
   */
  showNotice(words, { retry_ms, canWait = false } = {}) {
    const { title, text, action, wish, stop, countdown } = this.#elements;
    write(title, words.title);
    write(text, words.text);
    write(action, words.action);
    wish.hidden = !canWait;
    stop.hidden = retry_ms === undefined;
    countdown.hidden = retry_ms === undefined;
    this.#view("notice");
    if (retry_ms === undefined) return;
    const end_ms = performance.now() + retry_ms;
    const tick = () => {
      const left_s = Math.max(0, Math.ceil((end_ms - performance.now()) / 1000));
      write(countdown, countdownText(left_s));
    };
    tick();
    this.#countdown = window.setInterval(tick, 250);
  }

  /** @param {MediaStream} stream */
  play(stream) {
    const { video } = this.#elements;
    this.frames.pause();
    if (video.srcObject !== stream) video.srcObject = stream;
    this.#playing = true;
    void video.play().catch(() => {});
  }

  /** Leaves the last picture standing until there is a new one: a lost connection is no black hole. */
  freeze() {
    this.frames.pause();
    this.#playing = false;
    this.#still.keep();
    this.#elements.video.pause();
  }

  clear() {
    this.frames.pause();
    this.#playing = false;
    this.#still.drop();
    this.#elements.video.srcObject = null;
    this.#elements.stage.dataset["picture"] = "preview";
  }

  /** @param {boolean} on @returns {Promise<boolean>} false: the browser wants another click */
  async hear(on) {
    const { video } = this.#elements;
    video.muted = !on;
    if (!on || !video.srcObject) return true;
    try {
      await video.play();
      return true;
    } catch {
      video.muted = true;
      void video.play().catch(() => {});
      return false;
    }
  }

  /** @param {View} view */
  #view(view) {
    const { stage, pitch, wait, notice } = this.#elements;
    window.clearInterval(this.#countdown);
    stage.dataset["view"] = view;
    pitch.hidden = view !== "idle";
    wait.hidden = view !== "busy";
    notice.hidden = view !== "notice";
  }

  #countFrames() {
    const { video, stage } = this.#elements;
    let counted = 0;
    /** @param {number} at_ms @param {number} total since the stream began */
    const show = (at_ms, total) => {
      if (total < counted) counted = 0;
      this.frames.show(at_ms, total - counted);
      counted = total;
      if (this.#playing) this.#still.drop();
      stage.dataset["picture"] = "live";
    };
    if ("requestVideoFrameCallback" in video) {
      /** @type {VideoFrameRequestCallback} */
      const onFrame = (_now, frame) => {
        show(frame.presentationTime, frame.presentedFrames);
        video.requestVideoFrameCallback(onFrame);
      };
      video.requestVideoFrameCallback(onFrame);
      return;
    }
    // Browsers without it can only be asked how many there have been.
    const poll = () => {
      const total = /** @type {HTMLVideoElement} */ (video).getVideoPlaybackQuality()
        .totalVideoFrames;
      if (total !== counted) show(performance.now(), total);
      requestAnimationFrame(poll);
    };
    poll();
  }
}

/** Screen readers read again what is written again. @param {HTMLElement} element @param {string} words */
function write(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
