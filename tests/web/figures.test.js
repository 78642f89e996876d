// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { bufferDelay_ms, FrameCounter, networkDelay } from "../../web_client/figures.js";

test("frames a second over the last two seconds", () => {
  const counter = new FrameCounter();
  for (let i = 0; i <= 100; i += 1) counter.show(i * 40);
  assert.equal(counter.fps(4000), 25);
  assert.equal(counter.shown, 101);
  assert.equal(counter.longestGap_ms, 40);
});

test("a stream that stands still falls to zero", () => {
  const counter = new FrameCounter();
  for (let i = 0; i <= 50; i += 1) counter.show(i * 40);
  assert.ok(counter.fps(3000) < 13);
  assert.equal(counter.fps(9000), 0);
  assert.equal(new FrameCounter().fps(0), 0);
});

test("the longest gap stays; a pause is no gap", () => {
  const counter = new FrameCounter();
  counter.show(0);
  counter.show(310);
  counter.show(350);
  assert.equal(counter.longestGap_ms, 310);
  counter.pause();
  counter.show(9000);
  assert.equal(counter.longestGap_ms, 310);
  assert.equal(counter.shown, 4);
});

test("frames that the page hears of late still count, each", () => {
  const counter = new FrameCounter();
  counter.show(0);
  counter.show(120, 3);
  counter.show(120, 0);
  assert.equal(counter.shown, 4);
  assert.equal(counter.longestGap_ms, 40);
  assert.equal(counter.fps(120), 25);
});

test("the browser's share of the delay comes from its statistics", () => {
  const report = [
    { type: "candidate-pair", nominated: false, currentRoundTripTime: 9 },
    { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.03 },
    { type: "inbound-rtp", kind: "audio", jitterBufferDelay: 50, jitterBufferEmittedCount: 1 },
    { type: "inbound-rtp", kind: "video", jitterBufferDelay: 1.5, jitterBufferEmittedCount: 50 },
  ];
  const delay = networkDelay(report);
  assert.deepEqual(delay, { roundTrip_ms: 30, buffered: { delay_s: 1.5, emitted: 50 } });
  assert.equal(bufferDelay_ms({ delay_s: 1, emitted: 25 }, delay.buffered), 20);
  assert.equal(bufferDelay_ms(null, delay.buffered), 0);
  assert.equal(bufferDelay_ms(delay.buffered, { delay_s: 0, emitted: 0 }), 0);
  assert.deepEqual(networkDelay([]), { roundTrip_ms: 0, buffered: null });
});
