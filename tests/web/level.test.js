// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { barFraction, EMPTY_METER, levelDbfs, moveMeter } from "../../web_client/level.js";

/** @param {number} actual @param {number} expected @param {number} [within] */
const near = (actual, expected, within = 1e-6) =>
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected}`);

test("decibels of known signals", () => {
  near(levelDbfs(new Float32Array(100).fill(1)), 0);
  near(levelDbfs(new Float32Array(100).fill(-0.1)), -20, 1e-4);
  const sine = Float32Array.from({ length: 4800 }, (_, i) => Math.sin((2 * Math.PI * i) / 48));
  near(levelDbfs(sine), -3.0103, 1e-3);
});

test("silence and nothing are -120, never minus infinity", () => {
  assert.equal(levelDbfs(new Float32Array(100)), -120);
  assert.equal(levelDbfs([]), -120);
});

test("the bar runs from -60 to -6 dBFS", () => {
  assert.equal(barFraction(-120), 0);
  assert.equal(barFraction(-60), 0);
  near(barFraction(-33), 0.5);
  assert.equal(barFraction(-6), 1);
  assert.equal(barFraction(0), 1);
});

test("the bar rises at once and falls gently; the peak stays a moment", () => {
  let meter = moveMeter(EMPTY_METER, 0.8, 0.05);
  assert.deepEqual([meter.level, meter.peak], [0.8, 0.8]);
  meter = moveMeter(meter, 0, 0.1);
  near(meter.level, 0.66);
  assert.equal(meter.peak, 0.8);
  for (let i = 0; i < 8; i += 1) meter = moveMeter(meter, 0, 0.1);
  assert.equal(meter.level, 0);
  assert.equal(meter.peak, 0.8);
  for (let i = 0; i < 8; i += 1) meter = moveMeter(meter, 0, 0.1);
  near(meter.peak, 0);
});
