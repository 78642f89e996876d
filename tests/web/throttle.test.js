// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { throttle } from "../../web_client/throttle.js";
import { FakeTimers } from "./fakes.js";

test("a hand on the pad sends at most once in a time, and where it ends is never lost", () => {
  const timers = new FakeTimers();
  /** @type {[number, number][]} */ const calls = [];
  const send = throttle((/** @type {number} */ n) => calls.push([timers.time_ms, n]), 60, timers);
  for (let i = 0; i <= 20; i += 1) {
    send(i);
    timers.advance(10);
  }
  timers.advance(1000);
  assert.deepEqual(calls, [
    [0, 0],
    [60, 5],
    [120, 11],
    [180, 17],
    [240, 20],
  ]);
  assert.equal(timers.pending, 0);
});

test("a single value goes out at once", () => {
  const timers = new FakeTimers();
  /** @type {string[]} */ const calls = [];
  const send = throttle((/** @type {string} */ value) => calls.push(value), 60, timers);
  send("a");
  timers.advance(100);
  send("b");
  assert.deepEqual(calls, ["a", "b"]);
});
