// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { socketAddress, tokenOf } from "../../web_client/address.js";
import { Signalling } from "../../web_client/signalling.js";
import { FakeSocket, FakeTimers } from "./fakes.js";

/** @param {string | null} [avatar] */
function begin(avatar = null) {
  const socket = new FakeSocket();
  const timers = new FakeTimers();
  /** @type {any[]} */ const messages = [];
  /** @type {string[]} */ const ends = [];
  const signalling = new Signalling({
    openSocket: () => socket,
    avatar,
    timers,
    onMessage: (message) => messages.push(message),
    onEnd: (code) => ends.push(code),
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

test("the token of the page's address goes along, and nothing else of it", () => {
  const base = "https://example.test:8443/talk/?token=a%20b%26c&avatar=x";
  const token = tokenOf(new URL(base).search);
  assert.equal(token, "a b&c");
  const address = socketAddress(base, token);
  assert.equal(address.href, "wss://example.test:8443/talk/ws?token=a+b%26c");
  assert.equal(address.searchParams.get("token"), "a b&c");
  assert.equal(socketAddress("http://localhost:8080/stage", null).href, "ws://localhost:8080/ws");
  assert.equal(tokenOf("?token="), null);
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
  assert.deepEqual(ends, ["unreachable"]);
});

test("a socket that breaks later is a lost connection, told once", () => {
  const { socket, ends, timers } = begin();
  socket.open();
  socket.drop();
  socket.drop();
  timers.advance(60_000);
  assert.deepEqual(ends, ["connection_lost"]);
  assert.equal(timers.pending, 0);
});

test("a goodbye ends the line", () => {
  for (const [reason, code] of [
    ["the server is stopping", "server_stopping"],
    ["the client fell silent", "connection_lost"],
  ]) {
    const { socket, ends } = begin();
    socket.open();
    socket.hear({ type: "goodbye", reason });
    assert.deepEqual(ends, [code]);
    assert.ok(socket.closed);
  }
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
  assert.deepEqual(ends, ["connection_lost"]);
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
