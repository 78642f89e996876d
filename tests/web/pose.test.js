// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { clampPose, padToPose, poseAfterKey, poseText, poseToPad } from "../../web_client/pose.js";

/** @type {import("../../web_client/protocol.js").PoseRange} */
const RANGE = { yaw: [-30, 30], pitch: [-18, 18], roll: [-12, 12] };
/** @type {import("../../web_client/protocol.js").PoseRange} */
const UNEVEN = { yaw: [-20, 40], pitch: [-5, 15], roll: [-12, 12] };

test("the middle is straight ahead, also in an uneven range", () => {
  assert.deepEqual(padToPose(0.5, 0.5, RANGE), { yaw: 0, pitch: 0 });
  assert.deepEqual(padToPose(0.5, 0.5, UNEVEN), { yaw: 0, pitch: 0 });
});

test("right is yaw up, top is pitch up, and the corners are the ends of the range", () => {
  assert.deepEqual(padToPose(1, 0, UNEVEN), { yaw: 40, pitch: 15 });
  assert.deepEqual(padToPose(0, 1, UNEVEN), { yaw: -20, pitch: -5 });
  assert.deepEqual(padToPose(0.75, 0.75, RANGE), { yaw: 15, pitch: -9 });
});

test("outside of the pad is its edge", () => {
  assert.deepEqual(padToPose(7, -7, RANGE), { yaw: 30, pitch: 18 });
});

test("to the pad and back is the same pose", () => {
  for (const range of [RANGE, UNEVEN]) {
    for (const yaw of [-20, -7.5, 0, 12, 30]) {
      for (const pitch of [-5, -1, 0, 3, 15]) {
        const { x, y } = poseToPad({ yaw, pitch, roll: 0 }, range);
        const back = padToPose(x, y, range);
        assert.ok(Math.abs(back.yaw - yaw) < 1e-9 && Math.abs(back.pitch - pitch) < 1e-9);
      }
    }
  }
});

test("a range that does not reach zero, or has no width, gives no nonsense", () => {
  /** @type {import("../../web_client/protocol.js").PoseRange} */
  const odd = { yaw: [5, 30], pitch: [0, 0], roll: [0, 0] };
  assert.deepEqual(padToPose(0, 0.2, odd), { yaw: 5, pitch: 0 });
  assert.deepEqual(poseToPad({ yaw: 0, pitch: 0, roll: 0 }, odd), { x: 0.5, y: 0.5 });
});

test("arrow keys step by two degrees, with Shift by eight, and stop at the ends", () => {
  const pose = { yaw: 0, pitch: 0, roll: 3 };
  assert.deepEqual(poseAfterKey(pose, "ArrowRight", false, RANGE), { yaw: 2, pitch: 0, roll: 3 });
  assert.deepEqual(poseAfterKey(pose, "ArrowUp", true, RANGE), { yaw: 0, pitch: 8, roll: 3 });
  assert.deepEqual(poseAfterKey({ ...pose, yaw: -29 }, "ArrowLeft", false, RANGE), {
    yaw: -30,
    pitch: 0,
    roll: 3,
  });
  assert.deepEqual(poseAfterKey(pose, "ArrowDown", false, RANGE), { yaw: 0, pitch: -2, roll: 3 });
  assert.deepEqual(poseAfterKey(pose, "Home", false, RANGE), { yaw: 0, pitch: 0, roll: 0 });
  assert.equal(poseAfterKey(pose, "a", false, RANGE), null);
});

test("clampPose holds every axis in its range", () => {
  assert.deepEqual(clampPose({ yaw: 99, pitch: -99, roll: 99 }, RANGE), {
    yaw: 30,
    pitch: -18,
    roll: 12,
  });
});

test("the words for a screen reader", () => {
  assert.equal(poseText({ yaw: 0.2, pitch: -0.3 }), "straight ahead");
  assert.equal(poseText({ yaw: 12, pitch: 0 }), "12° to the right");
  assert.equal(poseText({ yaw: -12, pitch: 4.6 }), "12° to the left, 5° up");
});
