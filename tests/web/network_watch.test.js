// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { watchNetwork } from "../../web_client/network_watch.js";

function begin() {
  /** @type {string[]} */ const signs = [];
  const page = { visibilityState: "visible" };
  const link = { type: "wifi" };
  const world = {
    window: new EventTarget(),
    document: Object.assign(new EventTarget(), page),
    connection: Object.assign(new EventTarget(), link),
    now_ms: 1_000_000,
    tick: () => {},
  };
  watchNetwork((sign) => signs.push(sign), {
    ...world,
    wallClock_ms: () => world.now_ms,
    every: (call) => (world.tick = call),
  });
  /** @param {number} ms */
  const pass = (ms) => {
    world.now_ms += ms;
    world.tick();
  };
  return { world, signs, pass };
}

test("networks that come and go are signs", () => {
  const { world, signs } = begin();
  world.window.dispatchEvent(new Event("offline"));
  world.window.dispatchEvent(new Event("online"));
  assert.deepEqual(signs, ["network", "network"]);
});

test("another kind of network is a sign, another guess at its speed is none", () => {
  const { world, signs } = begin();
  world.connection.dispatchEvent(new Event("change"));
  assert.deepEqual(signs, []);
  world.connection.type = "cellular";
  world.connection.dispatchEvent(new Event("change"));
  world.connection.dispatchEvent(new Event("change"));
  assert.deepEqual(signs, ["network"]);
});

test("a page that is looked at again looks itself", () => {
  const { world, signs } = begin();
  world.document.visibilityState = "hidden";
  world.document.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(signs, []);
  world.document.visibilityState = "visible";
  world.document.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(signs, ["seen"]);
});

test("a clock that has jumped means that the computer slept; a late tick does not", () => {
  const { signs, pass } = begin();
  for (const ms of [1_000, 1_004, 4_000, 1_000, -60_000, 1_000]) pass(ms);
  assert.deepEqual(signs, []);
  pass(3_600_000);
  pass(1_000);
  assert.deepEqual(signs, ["slept"]);
});
