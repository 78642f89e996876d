// @ts-check
/** The panel that makes and changes a preset: label, angles, times, and how much of the speech stays. */

import { PRESET_WORDS } from "./messages.js";
import { clamp } from "./pose.js";

/** @typedef {import("./protocol.js").Pose} Pose */
/** @typedef {import("./protocol.js").PoseRange} PoseRange */
/** @typedef {import("./protocol.js").Preset} Preset */
/** @typedef {Omit<Preset, "name" | "own">} Draft  what the panel can change */
/** @typedef {"yaw" | "pitch" | "roll" | "ease_s" | "natural"} Sliding */

/**
 * The panel's parts; a field is a slider with a number beside it.
 * @typedef {object} EditorElements
 * @property {HTMLFormElement} form
 * @property {HTMLElement} title
 * @property {HTMLInputElement} label
 * @property {Record<Sliding, {slider: HTMLInputElement, number: HTMLInputElement}>} fields
 * @property {HTMLInputElement} hold
 * @property {HTMLInputElement} hold_s
 * @property {HTMLElement} hint
 * @property {HTMLElement} error
 * @property {HTMLButtonElement} save
 * @property {HTMLButtonElement} cancel
 * @property {HTMLButtonElement} remove
 */

/**
 * @typedef {object} EditorEvents
 * @property {(draft: Draft) => void} onPreview something was moved
 * @property {(draft: Draft) => void} onSave
 * @property {() => void} onDelete
 * @property {() => void} onCancel
 */

/** @type {Readonly<Draft>} */
export const NEW_DRAFT = Object.freeze({
  label: "",
  yaw: 0,
  pitch: 0,
  roll: 0,
  ease_s: 0.5,
  natural: 0.15,
  hold_s: null,
});
const HOLD_S = 3;
const HOLD_RANGE_S = /** @type {[number, number]} */ ([0, 3600]);
const EASE_RANGE_S = /** @type {[number, number]} */ ([0.05, 60]);
const HALF_DEG = 2;

export class PresetEditor {
  #elements;
  #events;
  /** @type {Draft} */
  #draft = { ...NEW_DRAFT };
  /** @type {Record<Sliding, [number, number]>} */
  #ranges = {
    yaw: [-30, 30],
    pitch: [-18, 18],
    roll: [-12, 12],
    ease_s: EASE_RANGE_S,
    natural: [0, 1],
  };

  /** @param {EditorElements} elements @param {EditorEvents} events */
  constructor(elements, events) {
    this.#elements = elements;
    this.#events = events;
    this.#listen();
  }

  /** @returns {boolean} */
  get isOpen() {
    return !this.#elements.form.hidden;
  }

  /** @param {PoseRange} range */
  setRange(range) {
    for (const axis of /** @type {const} */ (["yaw", "pitch", "roll"])) {
      const [low, high] = range[axis];
      // Half degrees: a slider counts its steps from its end, and must be able to stand at 0.
      const ends = [Math.ceil(low * HALF_DEG) / HALF_DEG, Math.floor(high * HALF_DEG) / HALF_DEG];
      this.#ranges[axis] = [low, high];
      const { slider, number } = this.#elements.fields[axis];
      [slider.min, slider.max] = [String(ends[0]), String(ends[1])];
      [number.min, number.max] = [String(low), String(high)];
    }
  }

  /** @param {Draft} draft @param {Preset | null} preset the one that is changed; null: a new one */
  open(draft, preset) {
    const { form, title, label, remove, hint, error } = this.#elements;
    this.#draft = { ...draft };
    title.textContent = preset ? PRESET_WORDS.change(preset.label) : PRESET_WORDS.fresh;
    remove.hidden = preset === null;
    remove.textContent = preset?.own === false ? PRESET_WORDS.hide : PRESET_WORDS.delete;
    hint.hidden = preset?.own !== false;
    error.textContent = "";
    label.value = draft.label;
    form.hidden = false;
    this.busy(false);
    this.#draw();
    // Without a label there is nothing to begin with but the label; else the face and the sliders
    // count, and a phone's keyboard would only cover them.
    if (preset) title.focus();
    else label.focus();
  }

  close() {
    this.#elements.form.hidden = true;
  }

  /** The pad was moved while the panel is open. @param {Pose} pose */
  aim(pose) {
    this.#change(pose);
  }

  /** @param {string} words what went wrong */
  fail(words) {
    this.busy(false);
    this.#elements.error.textContent = words;
  }

  /** @param {boolean} on waiting for the server */
  busy(on) {
    const { save, remove, cancel } = this.#elements;
    for (const button of [save, remove, cancel]) button.disabled = on;
  }

  /** @param {Partial<Draft>} part */
  #change(part) {
    this.#draft = { ...this.#draft, ...part };
    this.#draw();
    this.#events.onPreview({ ...this.#draft });
  }

  #listen() {
    const { form, label, fields, hold, hold_s, cancel, remove } = this.#elements;
    for (const key of /** @type {Sliding[]} */ (Object.keys(fields))) {
      const { slider, number } = fields[key];
      const scale = key === "natural" ? 100 : 1;
      slider.addEventListener("input", () => this.#set(key, slider.valueAsNumber / scale));
      number.addEventListener("input", () => this.#set(key, number.valueAsNumber / scale));
      // A number is put right when the hand leaves it, not under the fingers.
      number.addEventListener("change", () => this.#draw(true));
    }
    hold.addEventListener("change", () => this.#setHold());
    hold_s.addEventListener("input", () => this.#setHold());
    hold_s.addEventListener("change", () => this.#draw(true));
    label.addEventListener("input", () => (this.#draft.label = label.value));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    cancel.addEventListener("click", () => this.#events.onCancel());
    remove.addEventListener("click", () => this.#events.onDelete());
  }

  /** @param {Sliding} key @param {number} value NaN while a number is half written */
  #set(key, value) {
    if (Number.isFinite(value)) this.#change({ [key]: clamp(value, ...this.#ranges[key]) });
  }

  #setHold() {
    const { hold, hold_s } = this.#elements;
    const seconds = hold_s.valueAsNumber;
    if (!hold.checked) this.#draft.hold_s = null;
    else if (Number.isFinite(seconds)) this.#draft.hold_s = clamp(seconds, ...HOLD_RANGE_S);
    else this.#draft.hold_s ??= HOLD_S;
    this.#draw();
  }

  #save() {
    const { label, error } = this.#elements;
    const words = label.value.trim();
    if (!words) {
      error.textContent = PRESET_WORDS.unnamed;
      label.focus();
      return;
    }
    error.textContent = "";
    this.#events.onSave({ ...this.#draft, label: words });
  }

  /** @param {boolean} [all] also the field that is being written in */
  #draw(all = false) {
    const { fields, hold, hold_s } = this.#elements;
    /** @param {HTMLInputElement} input @param {number} value */
    const show = (input, value) => {
      if (all || input !== document.activeElement || input.type === "range") {
        input.value = String(Math.round(value * 100) / 100);
      }
    };
    for (const key of /** @type {Sliding[]} */ (Object.keys(fields))) {
      const value = this.#draft[key] * (key === "natural" ? 100 : 1);
      show(fields[key].slider, value);
      show(fields[key].number, value);
    }
    hold.checked = this.#draft.hold_s !== null;
    hold_s.disabled = this.#draft.hold_s === null;
    show(hold_s, this.#draft.hold_s ?? HOLD_S);
  }
}
