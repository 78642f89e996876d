// @ts-check
/** The pad (yaw and pitch) and the tilt (roll): a hand on the head. */

import { clampPose, padToPose, poseAfterKey, poseText, poseToPad, STRAIGHT } from "./pose.js";

/** @typedef {import("./protocol.js").Pose} Pose */
/** @typedef {import("./protocol.js").PoseRange} PoseRange */

/** While dragging the hand eases already; keys and the tilt move in steps; a leap needs the longest. */
const DRAG_EASE_S = 0.2;
const STEP_EASE_S = 0.3;
const LEAP_EASE_S = 0.6;

export class PosePad {
  #elements;
  #onAim;
  /** @type {PoseRange} */
  #range = { yaw: [-30, 30], pitch: [-18, 18], roll: [-12, 12] };
  /** @type {Pose} */
  #target = { ...STRAIGHT };
  #on = false;

  /**
   * @param {{pad: HTMLElement, handle: HTMLElement, actual: HTMLElement, roll: HTMLInputElement,
   *   rollValue: HTMLOutputElement}} elements
   * @param {(pose: Pose, ease_s: number) => void} onAim
   */
  constructor(elements, onAim) {
    this.#elements = elements;
    this.#onAim = onAim;
    this.#listen();
    this.#draw();
  }

  /** Where the handle stands, degrees. */
  get target() {
    return this.#target;
  }

  /** @param {PoseRange} range */
  setRange(range) {
    const { roll } = this.#elements;
    this.#range = range;
    // Whole degrees: the slider counts its steps from its end, and must be able to stand at 0.
    roll.min = String(Math.ceil(range.roll[0]));
    roll.max = String(Math.floor(range.roll[1]));
    this.showTarget(this.#target);
  }

  /** @param {boolean} on */
  enable(on) {
    const { pad, handle, roll } = this.#elements;
    this.#on = on;
    pad.dataset["off"] = String(!on);
    handle.setAttribute("aria-disabled", String(!on));
    roll.disabled = !on;
  }

  /** Shows where the head is wanted. @param {Pose} pose */
  showTarget(pose) {
    this.#target = clampPose(pose, this.#range);
    this.#draw();
  }

  /** Shows where the head really is. @param {Pose} pose */
  showActual(pose) {
    this.#place(this.#elements.actual, pose);
  }

  /** @param {Pose} pose @param {number} ease_s */
  #aim(pose, ease_s) {
    if (!this.#on) return;
    this.showTarget(pose);
    this.#onAim(this.#target, ease_s);
  }

  #listen() {
    const { pad, handle, roll } = this.#elements;
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
    pad.addEventListener("dblclick", () => this.#aim({ ...STRAIGHT }, LEAP_EASE_S));
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
    const { handle, roll, rollValue } = this.#elements;
    this.#place(handle, this.#target);
    handle.setAttribute("aria-valuemin", this.#range.yaw[0].toFixed(0));
    handle.setAttribute("aria-valuemax", this.#range.yaw[1].toFixed(0));
    handle.setAttribute("aria-valuenow", this.#target.yaw.toFixed(0));
    handle.setAttribute("aria-valuetext", poseText(this.#target));
    roll.valueAsNumber = this.#target.roll;
    rollValue.value = `${Math.round(this.#target.roll) + 0}°`;
  }

  /** @param {HTMLElement} mark @param {Pose} pose */
  #place(mark, pose) {
    const { x, y } = poseToPad(pose, this.#range);
    mark.style.setProperty("--x", x.toFixed(4));
    mark.style.setProperty("--y", y.toFixed(4));
  }
}
