// @ts-check
/** The parts of index.html, by the controls that they belong to. */

import { find } from "./dom.js";
import { WATCH_WORDS } from "./messages.js";

/** @returns {ConstructorParameters<typeof import("./stage.js").Stage>[0]} */
export function stageElements() {
  return {
    stage: find("stage", HTMLElement),
    preview: find("preview", HTMLImageElement),
    video: find("video", HTMLVideoElement),
    still: find("still", HTMLCanvasElement),
    stateText: find("state-text", HTMLElement),
    synthetic: find("synthetic", HTMLElement),
    pitch: find("pitch", HTMLElement),
    lead: find("lead", HTMLElement),
    wait: find("wait", HTMLElement),
    waitText: find("wait-text", HTMLElement),
    notice: find("notice", HTMLElement),
    title: find("notice-title", HTMLElement),
    text: find("notice-text", HTMLElement),
    countdown: find("notice-countdown", HTMLElement),
    action: find("notice-action", HTMLButtonElement),
    wish: find("notice-wish", HTMLButtonElement),
    stop: find("notice-stop", HTMLButtonElement),
  };
}

/** @returns {import("./head.js").HeadElements} */
export function headElements() {
  return {
    card: find("head", HTMLElement),
    pad: {
      pad: find("pad", HTMLElement),
      handle: find("pad-handle", HTMLElement),
      actual: find("pad-actual", HTMLElement),
      roll: find("roll", HTMLInputElement),
      rollValue: find("roll-value", HTMLOutputElement),
    },
    chips: {
      list: find("presets", HTMLElement),
      natural: find("natural", HTMLButtonElement),
      add: find("preset-add", HTMLButtonElement),
    },
    edit: find("preset-edit", HTMLButtonElement),
    editHint: find("edit-hint", HTMLElement),
    editor: {
      form: find("editor", HTMLFormElement),
      title: find("editor-title", HTMLElement),
      label: find("editor-label", HTMLInputElement),
      fields: {
        yaw: field("editor-yaw"),
        pitch: field("editor-pitch"),
        roll: field("editor-roll"),
        ease_s: field("editor-ease"),
        natural: field("editor-natural"),
      },
      hold: find("editor-hold", HTMLInputElement),
      hold_s: find("editor-hold-s", HTMLInputElement),
      hint: find("editor-hint", HTMLElement),
      error: find("editor-error", HTMLElement),
      save: find("editor-save", HTMLButtonElement),
      cancel: find("editor-cancel", HTMLButtonElement),
      remove: find("editor-delete", HTMLButtonElement),
    },
  };
}

/** @returns {ConstructorParameters<typeof import("./live_figures.js").LiveFigures>[0]} */
export function figureElements() {
  return {
    fps: find("figure-fps", HTMLElement),
    latency: find("figure-latency", HTMLElement),
    state: find("figure-state", HTMLElement),
    late: find("figure-late", HTMLElement),
  };
}

/** A slider, and the number beside it. @param {string} id */
function field(id) {
  return {
    slider: find(id, HTMLInputElement),
    number: find(`${id}-number`, HTMLInputElement),
  };
}

/**
 * Somebody else speaks: no microphone, no choice of avatar, a button that interrupts, and the voice is on.
 *
 * @param {string} session an id, or "latest"
 */
export function prepareToWatch(session) {
  find("start", HTMLElement).textContent = WATCH_WORDS.start;
  find("start-hint", HTMLElement).textContent = WATCH_WORDS.hint;
  find("hear-label", HTMLElement).textContent = WATCH_WORDS.hear;
  find("hear-help", HTMLElement).textContent = WATCH_WORDS.hearHelp;
  find("hear", HTMLInputElement).checked = true;
  find("watching", HTMLElement).textContent = WATCH_WORDS.watching(session);
  find("watching", HTMLElement).hidden = false;
  find("avatar-choice", HTMLElement).remove();
  find("microphone", HTMLElement).hidden = true;
  find("mute", HTMLElement).hidden = true;
  find("interrupt", HTMLElement).hidden = false;
}
