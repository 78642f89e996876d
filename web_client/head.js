// @ts-check
/** The head's controls together: presets, their editor, the pad; and one wish that all of them show. */

import { isField } from "./dom.js";
import { PRESET_WORDS } from "./messages.js";
import { halfDegrees } from "./pose.js";
import { NEW_DRAFT, PresetEditor } from "./preset_editor.js";
import { PresetChanges } from "./preset_changes.js";
import { PresetChips } from "./preset_chips.js";
import { followed, nameFrom, placeOfKey, renewed, said } from "./presets.js";
import { PosePad } from "./pose_pad.js";
import { say } from "./protocol.js";
import { throttle } from "./throttle.js";

/** @typedef {import("./protocol.js").Preset} Preset */
/** @typedef {import("./presets.js").Wish} Wish */
/** @typedef {import("./preset_editor.js").Draft} Draft */

/**
 * @typedef {object} HeadElements
 * @property {HTMLElement} card
 * @property {ConstructorParameters<typeof PosePad>[0]} pad
 * @property {ConstructorParameters<typeof PresetChips>[0]} chips
 * @property {import("./preset_editor.js").EditorElements} editor
 * @property {HTMLButtonElement} edit
 * @property {HTMLElement} editHint
 */

/** The server refuses floods; a hand needs no more. */
const SEND_EVERY_MS = 60;

export class Head {
  /** @type {Wish} */
  #wish = { kind: "natural" };
  #wishedAt_ms = -Infinity;
  /** @type {Preset[]} */
  #presets = [];
  #avatar = "";
  /** Chips open the panel instead of turning the head. */
  #editing = false;
  /** The panel is open: what is edited, and what was wanted before. @type {{preset: Preset | null, before: Wish} | null} */
  #open = null;
  #on = false;
  #canEdit = false;
  #canSteer = true;

  #elements;
  #pad;
  #chips;
  #editor;
  #toast;
  #changes;
  #send;

  /**
   * @param {HeadElements} elements
   * @param {import("./toast.js").Toast} toast
   * @param {(message: import("./protocol.js").ClientMessage) => void} send
   */
  constructor(elements, toast, send) {
    this.#elements = elements;
    this.#toast = toast;
    this.#changes = new PresetChanges(send);
    // All wishes share one throttle: a pose that waits must not come after a later preset.
    this.#send = throttle(send, SEND_EVERY_MS);
    this.#pad = new PosePad(elements.pad, (pose, ease_s) => this.#aim(pose, ease_s));
    this.#chips = new PresetChips(elements.chips, (preset) => this.#choose(preset));
    this.#editor = new PresetEditor(elements.editor, {
      onPreview: (draft) => this.#preview(draft),
      onSave: (draft) => this.#save(draft),
      onDelete: () => this.#delete(),
      onCancel: () => this.cancel(),
    });
    elements.edit.addEventListener("click", () => this.#setEditing(!this.#editing));
    elements.chips.add.addEventListener("click", () => this.#openEditor(null));
    this.#draw();
  }

  // -------------------------------------------------------------- from the page and the server

  /** @param {import("./protocol.js").Avatar} avatar */
  setAvatar(avatar) {
    if (avatar.name !== this.#avatar) this.#closeEditor();
    this.#avatar = avatar.name;
    this.#pad.setRange(avatar.pose_range);
    this.#editor.setRange(avatar.pose_range);
    this.setPresets(avatar.presets);
  }

  /** The list as the server has it now. @param {Preset[]} presets */
  setPresets(presets) {
    this.#presets = presets;
    this.#chips.setPresets(presets);
    this.#wish = renewed(this.#wish, presets);
    if (this.#open) this.#open.before = renewed(this.#open.before, presets);
    this.#changes.take(presets);
    this.#draw();
  }

  /** What would be refused is not shown. @param {boolean} on */
  setCanSteer(on) {
    this.#canSteer = on;
    this.#elements.card.hidden = !on;
  }

  /** @param {boolean} on */
  setCanEdit(on) {
    this.#canEdit = on;
    if (!on) this.#closeEditor();
    this.#draw();
  }

  /** @param {boolean} wanted */
  enable(wanted) {
    const on = wanted && this.#canSteer;
    this.#on = on;
    if (!on) this.#changes.forget();
    this.#editor.busy(!on);
    this.#pad.enable(on);
    this.#draw();
  }

  /** @param {import("./protocol.js").State} state */
  follow(state) {
    this.#pad.showActual(state.pose);
    if (!this.#open) {
      const age_ms = performance.now() - this.#wishedAt_ms;
      const wish = followed(this.#wish, age_ms, state.preset, this.#presets);
      if (wish !== this.#wish) {
        this.#wish = wish;
        if (wish.kind === "preset") this.#pad.showTarget(wish.preset);
      }
      // The handle waits where the head is, so that a grip begins without a jump.
      if (wish.kind === "natural") this.#pad.showTarget(state.pose);
    }
    this.#draw();
  }

  /** A new session of the server knows nothing of what was wanted in the one before. */
  restore() {
    if (this.#wish.kind !== "natural") this.#wishFor(this.#wish);
  }

  /** Another session has come that others steer: what it does is read from its state. */
  forget() {
    this.#wish = { kind: "natural" };
    this.#wishedAt_ms = -Infinity;
    this.#draw();
  }

  /** @param {import("./protocol.js").ServerError} error @returns {boolean} whether it was about a change of a preset */
  takeError(error) {
    return this.#changes.takeError(error);
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key meant something here */
  takeKey(event) {
    if (event.key === "Escape" && (this.#open || this.#editing)) {
      this.cancel();
      return true;
    }
    const place = placeOfKey(event);
    if (place === null || !this.#on || this.#open || isField(event.target)) return false;
    const preset = place === 0 ? null : this.#presets[place - 1];
    if (preset === undefined) return false;
    this.#choose(preset);
    return true;
  }

  /** Closes the panel, or ends the choice of what to edit; the head goes back to what it did before. */
  cancel() {
    const before = this.#open?.before;
    this.#closeEditor();
    if (before) this.#wishFor(before);
    this.#elements.edit.focus();
  }

  // -------------------------------------------------------------- wishes

  /** @param {Preset | null} preset */
  #choose(preset) {
    if (!this.#on || this.#open) return;
    if (this.#editing && preset) this.#openEditor(preset);
    else this.#wishFor(preset ? { kind: "preset", preset } : { kind: "natural" });
  }

  /** @param {import("./protocol.js").Pose} pose @param {number} ease_s */
  #aim(pose, ease_s) {
    if (this.#open) this.#editor.aim(pose);
    else this.#wishFor({ kind: "pose", pose, ease_s });
  }

  /** @param {Wish} wish */
  #wishFor(wish) {
    this.#wish = wish;
    this.#wishedAt_ms = performance.now();
    if (wish.kind === "preset") this.#pad.showTarget(wish.preset);
    if (wish.kind === "pose") this.#pad.showTarget(wish.pose);
    this.#send(said(wish));
    this.#draw();
  }

  /** @param {Draft} draft */
  #preview({ yaw, pitch, roll, ease_s, natural }) {
    this.#wishFor({ kind: "pose", pose: { yaw, pitch, roll }, ease_s, natural });
  }

  // -------------------------------------------------------------- presets' changes

  /** @param {boolean} on */
  #setEditing(on) {
    this.#editing = on;
    if (!on && this.#open) this.cancel();
    this.#draw();
  }

  /** @param {Preset | null} preset null: a new one, from the pose that there is */
  #openEditor(preset) {
    if (!this.#on || this.#open) return;
    this.#toast.hide();
    this.#open = { preset, before: this.#wish };
    this.#editing = true;
    const draft = preset ?? { ...NEW_DRAFT, ...halfDegrees(this.#pad.target) };
    this.#editor.open(draft, preset);
    this.#preview(draft);
  }

  #closeEditor() {
    this.#changes.forget();
    this.#open = null;
    this.#editing = false;
    this.#editor.close();
    this.#draw();
  }

  /** @param {Draft} draft */
  #save(draft) {
    const name =
      this.#open?.preset?.name ??
      nameFrom(
        draft.label,
        this.#presets.map((p) => p.name),
      );
    this.#editor.busy(true);
    /** @param {Preset[]} presets */
    const saved = (presets) => presets.find((preset) => preset.name === name && preset.own);
    this.#changes.ask(say.savePreset({ ...draft, name }), {
      shows: (presets) => saved(presets) !== undefined,
      done: (presets) => {
        const preset = /** @type {Preset} */ (saved(presets));
        this.#closeEditor();
        this.#wishFor({ kind: "preset", preset });
        this.#toast.show(PRESET_WORDS.saved(preset.label));
        this.#elements.edit.focus();
      },
      fail: (words) => this.#editor.fail(words),
    });
  }

  #delete() {
    const { preset, before } = this.#open ?? {};
    if (!preset || !before) return;
    this.#editor.busy(true);
    /** @param {Preset[]} presets */
    const left = (presets) => presets.find(({ name }) => name === preset.name);
    this.#changes.ask(say.deletePreset(preset.name), {
      // What is deleted may uncover the avatar's own preset of the same name.
      shows: (presets) => !left(presets) || (preset.own && !left(presets)?.own),
      done: (presets) => {
        this.#closeEditor();
        const gone = before.kind === "preset" && before.preset.name === preset.name;
        this.#wishFor(gone ? { kind: "natural" } : before);
        this.#toast.show(PRESET_WORDS.deleted(preset, left(presets)), {
          label: PRESET_WORDS.undo,
          call: () => this.#bringBack(preset),
        });
        this.#elements.edit.focus();
      },
      fail: (words) => this.#editor.fail(words),
    });
  }

  /** @param {Preset} preset */
  #bringBack(preset) {
    this.#changes.ask(say.savePreset(preset), {
      shows: (presets) => presets.some(({ name }) => name === preset.name),
      done: () => this.#toast.show(PRESET_WORDS.back(preset.label)),
      fail: (words) => this.#toast.show(words),
    });
    this.#elements.edit.focus();
  }

  #draw() {
    const { edit, editHint, chips } = this.#elements;
    this.#chips.enable(this.#on && !this.#open);
    this.#chips.mark(this.#wish);
    edit.hidden = chips.add.hidden = !this.#canEdit;
    edit.disabled = !this.#on;
    edit.setAttribute("aria-pressed", String(this.#editing));
    chips.list.dataset["editing"] = String(this.#editing);
    editHint.hidden = !this.#editing || this.#open !== null;
  }
}
