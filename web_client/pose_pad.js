// @ts-check
/** The head's controls: presets, the pad (yaw and pitch), the tilt (roll), and back to natural. */

import { clampPose, padToPose, poseAfterKey, poseText, poseToPad, STRAIGHT } from "./pose.js";
import { throttle } from "./throttle.js";

/** @typedef {import("./protocol.js").Pose} Pose */
/** @typedef {import("./protocol.js").PoseRange} PoseRange */
/** @typedef {import("./protocol.js").Preset} Preset */

/**
 * What the user wants of the head.
 * @typedef {{kind: "natural"} | {kind: "preset", preset: Preset} |
 *   {kind: "pose", pose: Pose, ease_s: number}} Wish
 */

/** While dragging the hand eases already; keys and the tilt move in steps; a leap needs the longest. */
const DRAG_EASE_S = 0.2;
const STEP_EASE_S = 0.3;
const LEAP_EASE_S = 0.6;
/** The server refuses floods; a hand needs no more. */
const SEND_EVERY_MS = 60;

export class PosePad {
  /** @type {Wish} */
  wish = { kind: "natural" };

  #elements;
  #onWish;
  #send;
  /** @type {PoseRange} */
  #range = { yaw: [-30, 30], pitch: [-18, 18], roll: [-12, 12] };
  /** @type {Pose} */
  #target = { ...STRAIGHT };
  #on = false;

  /**
   * @param {{pad: HTMLElement, handle: HTMLElement, actual: HTMLElement, roll: HTMLInputElement,
   *   rollValue: HTMLOutputElement, presets: HTMLElement, natural: HTMLButtonElement}} elements
   * @param {(wish: Wish) => void} onWish
   */
  constructor(elements, onWish) {
    this.#elements = elements;
    this.#onWish = onWish;
    this.#send = throttle(onWish, SEND_EVERY_MS);
    this.#listen();
    this.#draw();
  }

  /** @param {{pose_range: PoseRange, presets: Preset[]}} avatar */
  setAvatar(avatar) {
    const { presets, natural, roll } = this.#elements;
    this.#range = avatar.pose_range;
    this.#target = clampPose(this.#target, this.#range);
    // Whole degrees: the slider counts its steps from its end, and must be able to stand at 0.
    roll.min = String(Math.ceil(this.#range.roll[0]));
    roll.max = String(Math.floor(this.#range.roll[1]));
    const buttons = avatar.presets.map((preset) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "chip";
      button.textContent = preset.label;
      button.dataset["preset"] = preset.name;
      button.addEventListener("click", () => this.#choose({ kind: "preset", preset }));
      return button;
    });
    presets.replaceChildren(natural, ...buttons);
    this.enable(this.#on);
  }

  /** @param {boolean} on */
  enable(on) {
    const { pad, handle, roll, presets } = this.#elements;
    this.#on = on;
    pad.dataset["off"] = String(!on);
    handle.setAttribute("aria-disabled", String(!on));
    roll.disabled = !on;
    for (const button of presets.querySelectorAll("button")) button.disabled = !on;
    this.#draw();
  }

  /** Shows where the head really is. @param {Pose} pose */
  showActual(pose) {
    this.#place(this.#elements.actual, pose);
    if (this.wish.kind === "natural") {
      // The handle waits where the head is, so that a grip begins without a jump.
      this.#target = clampPose(pose, this.#range);
      this.#draw();
    }
  }

  /** @param {Wish} wish */
  #choose(wish) {
    if (!this.#on) return;
    this.wish = wish;
    if (wish.kind === "preset") this.#target = clampPose(wish.preset, this.#range);
    if (wish.kind === "pose") {
      this.#target = wish.pose;
      this.#send(wish);
    } else {
      this.#onWish(wish);
    }
    this.#draw();
  }

  /** @param {Pose} pose @param {number} ease_s */
  #aim(pose, ease_s) {
    this.#choose({ kind: "pose", pose, ease_s });
  }

  #listen() {
    const { pad, handle, roll, natural } = this.#elements;
    natural.addEventListener("click", () => this.#choose({ kind: "natural" }));
    roll.addEventListener("input", () =>
      this.#aim({ ...this.#target, roll: roll.valueAsNumber }, STEP_EASE_S),
    );

    pad.addEventListener("pointerdown", (event) => {
      if (!this.#on || event.button !== 0) return;
      event.preventDefault();
      handle.focus({ preventScroll: true });
      pad.setPointerCapture(event.pointerId);
      this.#follow(event, STEP_EASE_S);
    });
    pad.addEventListener("pointermove", (event) => {
      if (pad.hasPointerCapture(event.pointerId)) this.#follow(event, DRAG_EASE_S);
    });
    pad.addEventListener("dblclick", () =>
      this.#aim(clampPose({ ...STRAIGHT }, this.#range), LEAP_EASE_S),
    );
    handle.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const pose = poseAfterKey(this.#target, event.key, event.shiftKey, this.#range);
      if (!pose) return;
      event.preventDefault();
      this.#aim(pose, event.key === "Home" ? LEAP_EASE_S : STEP_EASE_S);
    });
  }

  /** @param {PointerEvent} event @param {number} ease_s */
  #follow(event, ease_s) {
    const box = this.#elements.pad.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    this.#aim({ ...padToPose(x, y, this.#range), roll: this.#target.roll }, ease_s);
  }

  #draw() {
    const { handle, roll, rollValue, presets, natural } = this.#elements;
    const { wish } = this;
    this.#place(handle, this.#target);
    handle.setAttribute("aria-valuemin", this.#range.yaw[0].toFixed(0));
    handle.setAttribute("aria-valuemax", this.#range.yaw[1].toFixed(0));
    handle.setAttribute("aria-valuenow", this.#target.yaw.toFixed(0));
    handle.setAttribute("aria-valuetext", poseText(this.#target));
    roll.valueAsNumber = this.#target.roll;
    rollValue.value = `${Math.round(this.#target.roll) + 0}°`;
    natural.setAttribute("aria-pressed", String(wish.kind === "natural"));
    for (const button of presets.querySelectorAll("button[data-preset]")) {
      const name = /** @type {HTMLElement} */ (button).dataset["preset"];
      const chosen = wish.kind === "preset" && wish.preset.name === name;
      button.setAttribute("aria-pressed", String(chosen));
    }
  }

  /** @param {HTMLElement} mark @param {Pose} pose */
  #place(mark, pose) {
    const { x, y } = poseToPad(pose, this.#range);
    mark.style.setProperty("--x", x.toFixed(4));
    mark.style.setProperty("--y", y.toFixed(4));
  }
}
