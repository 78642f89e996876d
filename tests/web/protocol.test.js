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
  assert.deepEqual([...types].sort(), ["answer", "error", "goodbye", "pong", "state", "welcome"]);
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
    say.preset("left"),
    say.natural(),
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
