// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { PresetChanges } from "../../web_client/preset_changes.js";
import { followed, nameFrom, placeOfKey, renewed } from "../../web_client/presets.js";
import { FakeTimers } from "./fakes.js";

/** @typedef {import("../../web_client/protocol.js").Preset} Preset */
/** @typedef {import("../../web_client/presets.js").Wish} Wish */

/** @param {string} name @param {Partial<Preset>} [more] @returns {Preset} */
const preset = (name, more = {}) => ({
  ...{ name, label: name, yaw: 5, pitch: 0, roll: 0 },
  ...{ ease_s: 0.5, natural: 0.15, hold_s: null, own: false },
  ...more,
});
const LEFT = preset("left");
const UP = preset("up");

test("a name is made of letters, digits, - and _, and begins with a letter or a digit", () => {
  assert.equal(nameFrom("Look left", []), "look-left");
  assert.equal(nameFrom("  Überblick: 2. Versuch!  ", []), "uberblick-2-versuch");
  assert.equal(nameFrom("_x_", []), "x");
  assert.equal(nameFrom("左を見る", []), "preset");
  assert.equal(nameFrom("../../etc/passwd", []), "etc-passwd");
  for (const label of ["a".repeat(200), "-".repeat(80), "x ".repeat(60), "é", "0"]) {
    assert.match(nameFrom(label, []), /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/);
  }
});

test("a name is unique, whatever the case of the letters", () => {
  assert.equal(nameFrom("Left", ["left"]), "left-2");
  assert.equal(nameFrom("Natural", []), "natural-2");
  assert.equal(nameFrom("Left", ["LEFT", "left-2", "left-3"]), "left-4");
  const long = "b".repeat(64);
  assert.ok(nameFrom(long, [nameFrom(long, [])]).length <= 64);
});

/** @param {Partial<Parameters<typeof placeOfKey>[0]>} event */
const pressed = (event) => ({
  ...{ key: "", code: "", repeat: false },
  ...{ altKey: false, ctrlKey: false, metaKey: false, shiftKey: false },
  ...event,
});

test("digits mean places, on every keyboard", () => {
  assert.equal(placeOfKey(pressed({ key: "3", code: "Digit3" })), 3);
  assert.equal(placeOfKey(pressed({ key: "0", code: "Numpad0" })), 0);
  // French keyboards need Shift for a digit: both ways are the same key.
  assert.equal(placeOfKey(pressed({ key: "é", code: "Digit2" })), 2);
  assert.equal(placeOfKey(pressed({ key: "2", code: "Digit2", shiftKey: true })), 2);
});

test("other keys, and keys with a meaning of the browser's, mean nothing", () => {
  assert.equal(placeOfKey(pressed({ key: "a", code: "KeyA" })), null);
  assert.equal(placeOfKey(pressed({ key: "!", code: "Digit1", shiftKey: true })), null);
  assert.equal(placeOfKey(pressed({ key: "End", code: "Numpad1" })), null);
  for (const held of ["altKey", "ctrlKey", "metaKey", "repeat"]) {
    assert.equal(placeOfKey(pressed({ key: "1", code: "Digit1", [held]: true })), null, held);
  }
});

test("the page follows the server's word, but not against a wish that is a moment old", () => {
  /** @type {Wish} */ const wish = { kind: "preset", preset: LEFT };
  assert.equal(followed(wish, 400, null, [LEFT, UP]), wish);
  assert.equal(followed(wish, 400, "up", [LEFT, UP]), wish);
  assert.equal(followed(wish, 1500, "left", [LEFT, UP]), wish);
  assert.deepEqual(followed(wish, 1500, "up", [LEFT, UP]), { kind: "preset", preset: UP });
});

test("a preset that was let go leaves the head natural; a pose of the hand stays a pose", () => {
  assert.deepEqual(followed({ kind: "preset", preset: LEFT }, 1500, null, [LEFT]), {
    kind: "natural",
  });
  /** @type {Wish} */ const hand = {
    kind: "pose",
    pose: { yaw: 1, pitch: 2, roll: 3 },
    ease_s: 0.3,
  };
  assert.equal(followed(hand, 1500, null, [LEFT]), hand);
  assert.equal(followed(hand, 1500, "a preset that is gone", [LEFT]), hand);
});

test("a wish for a preset that was changed is for what it is now; for one that is gone, its pose", () => {
  const changed = preset("left", { yaw: 9 });
  assert.deepEqual(renewed({ kind: "preset", preset: LEFT }, [changed]), {
    kind: "preset",
    preset: changed,
  });
  assert.deepEqual(renewed({ kind: "preset", preset: LEFT }, [UP]), {
    kind: "pose",
    pose: { yaw: 5, pitch: 0, roll: 0 },
    ease_s: 0.5,
    natural: 0.15,
  });
});

function changes() {
  const timers = new FakeTimers();
  /** @type {any[]} */ const sent = [];
  /** @type {any[]} */ const told = [];
  const changes = new PresetChanges((message) => sent.push(message), timers);
  const ask = () =>
    changes.ask(
      { type: "delete_preset", name: "left" },
      {
        shows: (presets) => !presets.includes(LEFT),
        done: (presets) => told.push(["done", presets.length]),
        fail: (words) => told.push(["fail", words]),
      },
    );
  return { changes, ask, timers, sent, told };
}

test("a change is done when the list shows it, once", () => {
  const { changes: all, ask, sent, told, timers } = changes();
  ask();
  assert.deepEqual(sent, [{ type: "delete_preset", name: "left" }]);
  all.take([LEFT, UP]);
  assert.deepEqual(told, []);
  all.take([UP]);
  all.take([]);
  assert.deepEqual(told, [["done", 1]]);
  assert.equal(timers.pending, 0);
});

test("a refused change is told in the server's words; other errors are not its answer", () => {
  const { changes: all, ask, told } = changes();
  assert.equal(all.takeError({ code: "not_allowed", message: "No." }), false);
  ask();
  assert.equal(all.takeError({ code: "too_fast", message: "Slowly." }), false);
  assert.equal(all.takeError({ code: "bad_preset", message: "yaw: too far." }), true);
  all.take([]);
  assert.deepEqual(told, [["fail", "yaw: too far."]]);
});

test("a server that says nothing is not waited for for ever", () => {
  const { ask, told, timers } = changes();
  ask();
  timers.advance(4_999);
  assert.deepEqual(told, []);
  timers.advance(1);
  assert.deepEqual(told, [["fail", "The server did not answer. Try again."]]);
});

test("what nobody waits for any more is not told", () => {
  const { changes: all, ask, told, timers } = changes();
  ask();
  all.forget();
  all.take([]);
  timers.advance(10_000);
  assert.deepEqual(told, []);
});
