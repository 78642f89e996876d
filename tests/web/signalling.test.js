// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { isLocal, socketAddress } from "../../web_client/address.js";
import { Signalling } from "../../web_client/signalling.js";
import { FakeSocket, FakeTimers } from "./fakes.js";

/** @param {string | null} [avatar] */
function begin(avatar = null) {
  const socket = new FakeSocket();
  const timers = new FakeTimers();
  /** @type {any[]} */ const messages = [];
  /** @type {any[]} */ const ends = [];
  const signalling = new Signalling({
    openSocket: () => socket,
    avatar,
    timers,
    onMessage: (message) => messages.push(message),
    onEnd: (ending) => ends.push(ending),
  });
  return { socket, timers, messages, ends, signalling };
}

test("hello is the first word, once the socket is open", () => {
  const { socket, signalling } = begin("mira");
  signalling.send({ type: "natural" });
  assert.deepEqual(socket.sent, []);
  socket.open();
  assert.deepEqual(socket.sent, [{ type: "hello", protocol: 1, avatar: "mira" }]);
});

test("the socket is beside the page, and nothing of the page's query goes along", () => {
  const base = "https://example.test:8443/talk/?avatar=x";
  assert.equal(socketAddress(base).href, "wss://example.test:8443/talk/ws");
  assert.equal(socketAddress("http://localhost:8080/stage").href, "ws://localhost:8080/ws");
});

test("messages are handed over; broken ones are passed by and the line lives on", (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const { socket, messages, ends } = begin();
  socket.open();
  socket.hear("garbage");
  socket.hear({ type: "state" });
  socket.hear({ type: "pong", id: 1 });
  assert.deepEqual(messages, [{ type: "pong", id: 1 }]);
  assert.deepEqual(ends, []);
  assert.equal(warn.mock.callCount(), 2);
});

test("a socket that never opened is a server that does not answer", () => {
  const { socket, ends } = begin();
  socket.drop();
  assert.deepEqual(ends, [{ code: "unreachable" }]);
});

test("a socket that breaks later is a lost connection, told once", () => {
  const { socket, ends, timers } = begin();
  socket.open();
  socket.drop();
  socket.drop();
  timers.advance(60_000);
  assert.deepEqual(ends, [{ code: "connection_lost" }]);
  assert.equal(timers.pending, 0);
});

test("a goodbye ends the line, and says whether to come back", () => {
  const words = { type: "goodbye", message: "The server is stopping." };
  for (const [retry_s, code] of [
    [2, "goodbye"],
    [null, "session_over"],
  ]) {
    const { socket, ends } = begin();
    socket.open();
    socket.hear({ ...words, retry_s });
    socket.drop(1001);
    assert.deepEqual(ends, [{ code, message: words.message, retry_s }]);
    assert.ok(socket.closed);
  }
});

test("a close without a word has its code's meaning", () => {
  for (const [number, code] of [
    [1001, "server_stopping"],
    [1013, "server_full"],
    [4401, "signed_out"],
    [4429, "too_many"],
    [1006, "connection_lost"],
    [1000, "connection_lost"],
  ]) {
    const { socket, ends } = begin();
    socket.open();
    socket.drop(Number(number));
    assert.deepEqual(ends, [{ code }]);
  }
});

test("a doubted line is asked once, and ends unless it answers just that", () => {
  const { socket, ends, timers, signalling } = begin();
  socket.open();
  signalling.probe();
  signalling.probe();
  assert.deepEqual(socket.sentOf("ping"), [{ type: "ping", id: 1 }]);
  timers.advance(2_000);
  socket.hear({ type: "pong", id: 1 });
  timers.advance(2_000);
  assert.deepEqual(ends, []);
  signalling.probe();
  // What had been on its way before the computer slept proves nothing.
  socket.hear({ type: "presets", presets: [] });
  socket.hear({ type: "pong", id: 1 });
  timers.advance(2_500);
  assert.deepEqual(ends, [{ code: "connection_lost" }]);
  signalling.probe();
  timers.advance(60_000);
  assert.equal(ends.length, 1);
  assert.equal(timers.pending, 0);
});

test("pings go out, and a line without any answer counts as lost", () => {
  const { socket, ends, timers } = begin();
  socket.open();
  timers.advance(5_000);
  timers.advance(5_000);
  assert.deepEqual(
    socket.sentOf("ping").map(({ id }) => id),
    [1, 2],
  );
  socket.hear({ type: "pong", id: 2 });
  timers.advance(10_000);
  assert.deepEqual(ends, []);
  timers.advance(5_000);
  assert.deepEqual(ends, [{ code: "connection_lost" }]);
});

test("a page that was held up itself reads first what has come meanwhile", () => {
  const { socket, ends, timers, signalling } = begin();
  socket.open();
  signalling.probe();
  timers.sleep(9_000);
  assert.deepEqual(ends, []);
  socket.hear({ type: "pong", id: 1 });
  timers.advance(2_000);
  assert.deepEqual(ends, []);
});

test("close says bye, and nothing is told afterwards", () => {
  const { socket, ends, messages, timers, signalling } = begin();
  socket.open();
  const { onmessage, onclose } = socket;
  signalling.close();
  signalling.close();
  assert.equal(socket.sentOf("bye").length, 1);
  assert.ok(socket.closed);
  onmessage({ data: '{"type":"pong","id":1}' });
  onclose({});
  timers.advance(60_000);
  assert.deepEqual([ends, messages], [[], []]);
});

test("only what is on this machine is reached without a network", () => {
  for (const name of ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "talk.localhost"]) {
    assert.ok(isLocal(name), name);
  }
  for (const name of ["example.org", "192.168.0.7", "127.example.org", "localhost.org", "[::2]"]) {
    assert.ok(!isLocal(name), name);
  }
});
