// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { parse, ProtocolError, PROTOCOL, say } from "../../web_client/protocol.js";

/** @param {string} name @returns {any} */
const fixture = (name) =>
  JSON.parse(readFileSync(new URL(`../fixtures/protocol/${name}.json`, import.meta.url), "utf8"));
const client = fixture("client");
const server = fixture("server");

test("every valid message of the server is read as it is", () => {
  for (const message of server.valid) {
    assert.deepEqual(parse(JSON.stringify(message)), message);
  }
});

test("the fixtures hold every type of the server", () => {
  const types = new Set(server.valid.map((/** @type {any} */ { type }) => type));
  assert.deepEqual([...types].sort(), [
    "answer",
    "error",
    "goodbye",
    "pong",
    "presets",
    "state",
    "welcome",
  ]);
});

test("each field of each server message is checked, and named when it is wrong", () => {
  for (const message of server.valid) {
    for (const field of Object.keys(message)) {
      if (field === "type") continue;
      const broken = { ...message, [field]: { wrong: true } };
      if (field === "pose") broken.pose = { yaw: 1, pitch: 2 };
      assert.throws(
        () => parse(JSON.stringify(broken)),
        (/** @type {any} */ error) =>
          error instanceof ProtocolError && error.message.startsWith(`${message.type}.${field}`),
        `${message.type}.${field}`,
      );
      const { [field]: _left, ...without } = message;
      if (message[field] !== null) {
        assert.throws(
          () => parse(JSON.stringify(without)),
          ProtocolError,
          `${message.type} without ${field}`,
        );
      }
    }
  }
});

test("what is no message is refused with a sentence", () => {
  for (const data of ["", "hm", "null", "[]", "5", "{}", '{"type":"toString"}', '{"type":7}']) {
    assert.throws(() => parse(data), ProtocolError, data);
  }
  assert.throws(() => parse(new ArrayBuffer(4)), ProtocolError);
});

test("fields of a newer server are let through", () => {
  assert.deepEqual(parse('{"type":"pong","id":1,"new":true}'), { type: "pong", id: 1, new: true });
});

test("a pose range must have two ends in order", () => {
  const welcome = structuredClone(server.valid[0]);
  for (const range of [[], [1], [2, 1], ["a", "b"]]) {
    welcome.avatar.pose_range.yaw = range;
    assert.throws(() => parse(JSON.stringify(welcome)), /welcome\.avatar\.pose_range\.yaw/);
  }
});

const LOOK_LEFT = {
  name: "look-left",
  label: "Look left",
  yaw: -12.5,
  pitch: 3,
  roll: 0,
  ease_s: 0.8,
  natural: 0.25,
};
const NOD = {
  name: "nod",
  label: "Nod",
  yaw: 0,
  pitch: -8,
  roll: 0,
  ease_s: 0.3,
  natural: 0,
  hold_s: 0.5,
};

test("each field of a preset is checked, wherever presets come", () => {
  const message = server.valid.find(
    (/** @type {any} */ { type, presets }) => type === "presets" && presets.length > 0,
  );
  for (const field of Object.keys(message.presets[0])) {
    const broken = structuredClone(message);
    broken.presets[0][field] = {};
    assert.throws(() => parse(JSON.stringify(broken)), new RegExp(`presets\\[0\\]\\.${field}:`));
    const welcome = structuredClone(server.valid[0]);
    delete welcome.avatar.presets[1][field];
    assert.throws(
      () => parse(JSON.stringify(welcome)),
      new RegExp(`avatar\\.presets\\[1\\]\\.${field}:`),
    );
  }
});

test("a preset held for good is saved without a time", () => {
  assert.ok(!("hold_s" in say.savePreset({ ...LOOK_LEFT, hold_s: null })));
});

test("what the page says is what the server's fixtures call valid", () => {
  const candidate = {
    candidate: "candidate:1 1 udp 2122260223 192.0.2.7 51234 typ host",
    sdpMid: "0",
    sdpMLineIndex: 0,
    usernameFragment: "abcd",
  };
  const said = [
    say.hello(),
    say.hello("mira"),
    say.offer("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"),
    say.candidate(candidate),
    say.candidate(null),
    say.pose({ yaw: 12.5, pitch: -4, roll: 0 }),
    say.pose({ yaw: 0, pitch: 0, roll: 0 }, 0.5),
    say.hello(null, "latest"),
    say.hello(null, "k3v9q2"),
    say.pose({ yaw: 12, pitch: 3.5, roll: -2 }, 1.2, 0.4),
    say.pose({ yaw: 0, pitch: 0, roll: 0 }, undefined, 0),
    say.preset("left"),
    say.natural(),
    say.interrupt(),
    say.voiceFile("hello.wav"),
    say.savePreset({ ...LOOK_LEFT, hold_s: null }),
    say.savePreset(NOD),
    say.deletePreset("look-left"),
    say.mute(true),
    say.mute(false),
    say.ping(7),
    say.bye(),
  ];
  for (const message of said) {
    const found = client.valid.some(
      (/** @type {any} */ valid) =>
        JSON.stringify(valid, Object.keys(valid).sort()) ===
        JSON.stringify(message, Object.keys(message).sort()),
    );
    assert.ok(found, `not in client.json: ${JSON.stringify(message)}`);
  }
  const types = new Set(said.map(({ type }) => type));
  for (const { type } of client.valid) assert.ok(types.has(type), `no builder for ${type}`);
});

test("hello names the protocol and leaves out an empty avatar", () => {
  assert.deepEqual(say.hello(null), { type: "hello", protocol: PROTOCOL });
  assert.deepEqual(say.hello(""), { type: "hello", protocol: PROTOCOL });
});
