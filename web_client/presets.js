// @ts-check
/** Presets as data: what a new one is called, which key means which, and whose wish the head follows. */

import { say } from "./protocol.js";

/** @typedef {import("./protocol.js").Pose} Pose */
/** @typedef {import("./protocol.js").Preset} Preset */

/**
 * What is wanted of the head.
 * @typedef {{kind: "natural"} | {kind: "preset", preset: Preset} |
 *   {kind: "pose", pose: Pose, ease_s: number, natural?: number}} Wish
 */

/** As many as there are keys for them. */
export const NUMBERED = 9;
/** Until the server's word about a wish of ours has come back, older words are on their way. */
const OWN_WISH_MS = 1000;
const MAX_NAME = 64;
const UNNAMED = "preset";
/** Words of timelines, which therefore name no preset. */
const RESERVED = ["natural", "mute", "unmute"];

/**
 * A name for files, addresses and shells: a letter or digit, then letters, digits, - and _.
 *
 * @param {string} label what people read, in any script
 * @param {Iterable<string>} taken names that there are
 * @returns {string}
 */
export function nameFrom(label, taken) {
  const plain = label
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^[-_]+|[-_]+$/g, "");
  const stem = plain.slice(0, MAX_NAME - 4).replace(/[-_]+$/, "") || UNNAMED;
  const names = new Set([...RESERVED, ...taken].map((name) => name.toLowerCase()));
  if (!names.has(stem)) return stem;
  let number = 2;
  while (names.has(`${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
}

/**
 * Which of the numbered places a key means: 0 is Natural, 1 to 9 the presets in their order.
 *
 * @param {{key: string, code: string, altKey: boolean, ctrlKey: boolean, metaKey: boolean,
 *   shiftKey: boolean, repeat: boolean}} event
 * @returns {number | null} null: another key, or one that means something else
 */
export function placeOfKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return null;
  if (/^[0-9]$/.test(event.key)) return Number(event.key);
  // On some keyboards the digits of the top row need Shift; a hand on the stage should not.
  const row = /^Digit([0-9])$/.exec(event.code);
  return row && !event.shiftKey ? Number(row[1]) : null;
}

/** @param {Wish} wish @returns {import("./protocol.js").ClientMessage} the command that utters it */
export function said(wish) {
  switch (wish.kind) {
    case "preset":
      return say.preset(wish.preset.name);
    case "pose":
      return say.pose(wish.pose, wish.ease_s, wish.natural);
    case "natural":
      return say.natural();
  }
}

/**
 * What the head does, by the page's own wish and the server's word: a preset may be let go after its
 * time, and others may steer the same session.
 *
 * @param {Wish} wish
 * @param {number} age_ms since it was uttered
 * @param {string | null} preset `state.preset`
 * @param {Preset[]} presets
 * @returns {Wish} the same object where nothing has changed
 */
export function followed(wish, age_ms, preset, presets) {
  if (age_ms < OWN_WISH_MS) return wish;
  if (preset === null) return wish.kind === "preset" ? { kind: "natural" } : wish;
  if (wish.kind === "preset" && wish.preset.name === preset) return wish;
  const known = presets.find(({ name }) => name === preset);
  return known ? { kind: "preset", preset: known } : wish;
}

/**
 * A wish after the list of presets has changed: a preset that is gone is still the pose it was.
 *
 * @param {Wish} wish
 * @param {Preset[]} presets
 * @returns {Wish}
 */
export function renewed(wish, presets) {
  if (wish.kind !== "preset") return wish;
  const { name, ease_s, natural, yaw, pitch, roll } = wish.preset;
  const preset = presets.find((candidate) => candidate.name === name);
  return preset
    ? { kind: "preset", preset }
    : { kind: "pose", pose: { yaw, pitch, roll }, ease_s, natural };
}
