// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Health, trafficOf } from "../../web_client/health.js";
import { HEALTH_WORDS } from "../../web_client/messages.js";

/** A connection whose picture moves up to now, unless it is said to stand. */
function begin() {
  const health = new Health();
  health.begin(0);
  /** @param {number} now_ms */
  const look = (now_ms, moves = true) => {
    if (moves) health.takePicture(now_ms);
    return health.trouble(now_ms);
  };
  return { health, look };
}

test("while all is well nothing is said", () => {
  const { health, look } = begin();
  health.takeLoad("ok");
  health.takeTraffic(0, { lost: 0, received: 0, roundTrip_ms: 30 });
  health.takeTraffic(1000, { lost: 1, received: 99, roundTrip_ms: 90 });
  assert.equal(look(1000), "");
  assert.equal(HEALTH_WORDS[""], "");
});

test("what the server says of its load is said at once, and for two seconds at least", () => {
  const { health, look } = begin();
  health.takeLoad("reduced");
  assert.equal(look(0), "reduced");
  health.takeLoad("ok");
  assert.equal(look(1_999), "reduced");
  assert.equal(look(2_000), "");
});

test("a load that comes and goes does not flicker", () => {
  const { health, look } = begin();
  /** @type {string[]} */ const seen = [];
  for (let at_ms = 0; at_ms < 10_000; at_ms += 250) {
    health.takeLoad(at_ms % 1000 === 0 ? "reduced" : "ok");
    seen.push(look(at_ms));
  }
  assert.deepEqual(new Set(seen), new Set(["reduced"]));
  assert.equal(look(11_000), "");
});

test("a picture that stands for more than a second is told, whatever else is", () => {
  const { health, look } = begin();
  health.takeLoad("overloaded");
  assert.equal(look(500), "overloaded");
  assert.equal(look(1_500, false), "overloaded");
  assert.equal(look(1_501, false), "frozen");
  assert.equal(look(3_500), "frozen", "so long that it can be read");
  assert.equal(look(3_502), "overloaded");
});

test("lost packets count by their share of the last seconds", () => {
  const { health, look } = begin();
  const traffic = (/** @type {number} */ s, /** @type {number} */ lost) =>
    health.takeTraffic(s * 1000, { lost, received: s * 100 - lost, roundTrip_ms: 20 });
  for (let s = 0; s <= 5; s += 1) traffic(s, s * 10);
  assert.equal(look(5_000), "lossy");
  for (let s = 6; s <= 11; s += 1) traffic(s, 50);
  assert.equal(look(11_000), "", "what is long past is forgotten");
});

test("a few lost packets among few say nothing", () => {
  const { health, look } = begin();
  health.takeTraffic(0, { lost: 0, received: 0, roundTrip_ms: 0 });
  health.takeTraffic(1000, { lost: 20, received: 20, roundTrip_ms: 0 });
  assert.equal(look(1000), "");
});

test("a long way to the server is told last of all", () => {
  const { health, look } = begin();
  health.takeTraffic(0, { lost: 0, received: 100, roundTrip_ms: 650 });
  assert.equal(look(0), "slow");
  health.takeLoad("reduced");
  assert.equal(look(2_500), "reduced");
});

test("a new connection knows nothing of the one before", () => {
  const { health, look } = begin();
  health.takeLoad("overloaded");
  health.takeTraffic(0, { lost: 0, received: 100, roundTrip_ms: 650 });
  assert.equal(look(0), "overloaded");
  health.begin(100);
  assert.equal(look(100), "");
});

test("the traffic of both directions comes from the browser's statistics", () => {
  const report = [
    { type: "candidate-pair", nominated: false, currentRoundTripTime: 9 },
    { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.25 },
    { type: "inbound-rtp", kind: "audio", packetsLost: 2, packetsReceived: 50 },
    { type: "inbound-rtp", kind: "video", packetsLost: -1, packetsReceived: 200 },
    { type: "outbound-rtp", kind: "audio", packetsSent: 60 },
    { type: "remote-inbound-rtp", kind: "audio", packetsLost: 10 },
  ];
  assert.deepEqual(trafficOf(report), { lost: 12, received: 300, roundTrip_ms: 250 });
  assert.deepEqual(trafficOf([]), { lost: 0, received: 0, roundTrip_ms: 0 });
});
