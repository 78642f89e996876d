// @ts-check
/** The row of presets: Natural, one button a preset, and a last one that makes a new preset. */

import { span } from "./dom.js";
import { NUMBERED } from "./presets.js";

/** @typedef {import("./protocol.js").Preset} Preset */
/** @typedef {import("./presets.js").Wish} Wish */

export class PresetChips {
  #elements;
  #onChoose;
  /** @type {Map<string, HTMLButtonElement>} by the preset's name */
  #buttons = new Map();
  #on = false;

  /**
   * @param {{list: HTMLElement, natural: HTMLButtonElement, add: HTMLButtonElement}} elements
   * @param {(preset: Preset | null) => void} onChoose null: natural
   */
  constructor(elements, onChoose) {
    this.#elements = elements;
    this.#onChoose = onChoose;
    elements.natural.addEventListener("click", () => onChoose(null));
  }

  /** @param {Preset[]} presets in the order of their keys */
  setPresets(presets) {
    const { list, natural, add } = this.#elements;
    const focused = [...this.#buttons].find(([, button]) => button === document.activeElement)?.[0];
    this.#buttons = new Map(
      presets.map((preset, index) => [preset.name, this.#make(preset, index)]),
    );
    list.replaceChildren(natural, ...this.#buttons.values(), add);
    this.enable(this.#on);
    // Whoever stands on a button when the list changes still stands on it.
    if (focused !== undefined) (this.#buttons.get(focused) ?? natural).focus();
  }

  /** @param {boolean} on */
  enable(on) {
    const { natural, add } = this.#elements;
    this.#on = on;
    for (const button of [natural, ...this.#buttons.values(), add]) button.disabled = !on;
  }

  /** @param {Wish} wish the one that is in effect */
  mark(wish) {
    this.#elements.natural.setAttribute("aria-pressed", String(wish.kind === "natural"));
    const chosen = wish.kind === "preset" ? wish.preset.name : null;
    for (const [name, button] of this.#buttons) {
      button.setAttribute("aria-pressed", String(name === chosen));
    }
  }

  /** @param {Preset} preset @param {number} index @returns {HTMLButtonElement} */
  #make(preset, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.dataset["preset"] = preset.name;
    button.dataset["own"] = String(preset.own);
    button.append(span("chip-label", preset.label));
    if (index < NUMBERED) {
      const key = span("key", String(index + 1));
      key.setAttribute("aria-hidden", "true");
      button.prepend(key);
      button.setAttribute("aria-keyshortcuts", String(index + 1));
    }
    if (preset.own) {
      button.append(span("sr-only", ", saved on this server"));
      button.title = "Saved on this server";
    }
    button.addEventListener("click", () => this.#onChoose(preset));
    return button;
  }
}
