// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { retryDelayMs } from "../../web_client/backoff.js";
import { Peer } from "../../web_client/peer.js";
import { FakeConnection, FakeSocket, FakeTimers, settle } from "./fakes.js";

const WELCOME = {
  type: "welcome",
  protocol: 1,
  session: "s",
  avatar: {
    name: "mira",
    label: "Mira",
    size: 256,
    fps: 25,
    synthetic: true,
    consent: { person: "", agreed_by: "", statement: "", uses: [], date: "" },
    pose_range: { yaw: [-30, 30], pitch: [-18, 18], roll: [-12, 12] },
    presets: [],
  },
  synthetic: true,
  mark: "AI",
  profile: "default",
  delay_ms: 360,
  ice_servers: [{ urls: ["stun:stun.example.org"] }],
  can_edit: true,
  can_steer: true,
  plugins: [],
};

/** @param {Partial<import("../../web_client/peer.js").PeerConfig>} [more] */
function begin(more = {}) {
  /** @type {FakeSocket[]} */ const sockets = [];
  /** @type {FakeConnection[]} */ const connections = [];
  /** @type {any[]} */ const states = [];
  /** @type {any[]} */ const details = [];
  /** @type {any[]} */ const told = [];
  const timers = new FakeTimers();
  const hooks = { onWelcome: () => {} };
  const peer = new Peer({
    openSocket: () => {
      sockets.push(new FakeSocket());
      return /** @type {any} */ (sockets.at(-1));
    },
    createConnection: (config) => {
      connections.push(new FakeConnection(config));
      return /** @type {any} */ (connections.at(-1));
    },
    microphone: /** @type {any} */ ("the microphone"),
    timers,
    random: () => 0.5,
    onState: (state, detail) => {
      states.push([state, detail.code, detail.retry_ms]);
      details.push({ state, ...detail });
    },
    onStream: (stream) => told.push(["stream", stream]),
    onWelcome: (welcome) => {
      told.push(["welcome", welcome.session]);
      hooks.onWelcome();
    },
    onServerState: (state) => told.push(["state", state.speaking]),
    onPresets: (presets) => told.push(["presets", presets.length]),
    onServerError: (error) => told.push(["error", error.code]),
    ...more,
  });
  const last = () => /** @type {FakeSocket} */ (sockets.at(-1));
  const connection = () => /** @type {FakeConnection} */ (connections.at(-1));
  const goLive = async () => {
    last().open();
    last().hear(WELCOME);
    await settle();
    last().hear({ type: "answer", sdp: "the answer" });
    await settle();
    connection().become("connected");
  };
  return {
    ...{ peer, hooks, sockets, connections, states, details, told, timers },
    ...{ last, connection, goLive },
  };
}

test("hello, welcome, offer, candidates, answer, live", async () => {
  const { last, connection, states, told, goLive, peer } = begin();
  await goLive();
  assert.deepEqual(
    last().sent.map(({ type }) => type),
    ["hello", "offer", "candidate"],
  );
  assert.equal(last().sentOf("offer")[0].sdp, "the offer");
  assert.deepEqual(connection().config, { iceServers: WELCOME.ice_servers });
  assert.deepEqual(
    connection().transceivers.map(({ trackOrKind, init }) => [trackOrKind, init.direction]),
    [
      ["the microphone", "sendrecv"],
      ["video", "recvonly"],
    ],
  );
  assert.deepEqual(connection().remoteDescription, { type: "answer", sdp: "the answer" });
  assert.deepEqual(states, [
    ["connecting", undefined, undefined],
    ["live", undefined, undefined],
  ]);
  assert.deepEqual(told, [["welcome", "s"]]);
  assert.equal(peer.state, "live");
});

test("a later candidate goes out at once, and their end as an empty one", async () => {
  const { last, connection, goLive } = begin();
  await goLive();
  connection().onicecandidate({ candidate: { candidate: "b", sdpMid: "1", sdpMLineIndex: 1 } });
  connection().onicecandidate({ candidate: null });
  assert.deepEqual(
    last()
      .sentOf("candidate")
      .map(({ candidate }) => candidate),
    ["first", "b", ""],
  );
});

test("tracks ask for a small buffer and bring one stream", async () => {
  const { connection, goLive, told } = begin();
  await goLive();
  const receiver = { jitterBufferTarget: null };
  connection().ontrack({ receiver, streams: ["the stream"] });
  const old = { playoutDelayHint: null };
  connection().ontrack({ receiver: old, streams: [] });
  assert.equal(receiver.jitterBufferTarget, 0);
  assert.equal(old.playoutDelayHint, 0);
  assert.deepEqual(told.at(-1), ["stream", "the stream"]);
});

test("a break is followed by attempts that wait longer and longer, up to 15 s", () => {
  const { timers, sockets, states, last } = begin();
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    last().drop();
    const [state, code, retry_ms] = states.at(-1);
    assert.deepEqual([state, code], ["waiting", "unreachable"]);
    waits.push(retry_ms);
    timers.advance(retry_ms - 1);
    assert.equal(sockets.length, i + 1);
    timers.advance(1);
    assert.equal(sockets.length, i + 2);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 3000, 5000, 8000, 15000, 15000]);
});

test("after ten seconds alive the waits begin anew", async () => {
  const { timers, states, last, goLive } = begin();
  last().drop();
  timers.advance(500);
  last().drop();
  timers.advance(1000);
  await goLive();
  timers.advance(9_000);
  last().hear({ type: "pong", id: 1 });
  timers.advance(1_000);
  last().drop();
  assert.deepEqual(states.at(-1), ["waiting", "connection_lost", 500]);
});

test("a connection that dies at once does not reset the waits", async () => {
  const { timers, states, last, goLive } = begin();
  last().drop();
  timers.advance(500);
  await goLive();
  timers.advance(500);
  last().drop();
  assert.deepEqual(states.at(-1), ["waiting", "connection_lost", 1000]);
});

test("an attempt is torn down before the next begins", async () => {
  const { timers, sockets, connections, last, goLive } = begin();
  await goLive();
  last().drop();
  assert.ok(connections[0]?.closed && sockets[0]?.closed);
  timers.advance(1000);
  await goLive();
  // Late words of the first attempt mean nothing.
  connections[0]?.become("failed");
  sockets[0]?.drop();
  assert.equal(connections[1]?.closed, false);
});

test("retryNow ends the countdown", () => {
  const { peer, timers, sockets, last } = begin();
  peer.retryNow();
  assert.equal(sockets.length, 1, "nothing to retry while connecting");
  last().drop();
  peer.retryNow();
  assert.equal(sockets.length, 2);
  timers.advance(14_000);
  assert.equal(sockets.length, 2, "the old countdown is gone");
});

const FULL = { type: "error", code: "server_full", message: "All taken.", fatal: true };

test("a full server is asked again only where somebody wants to wait", () => {
  const hasty = begin();
  hasty.last().open();
  hasty.last().hear(FULL);
  assert.deepEqual(hasty.details.at(-1), {
    state: "failed",
    code: "server_full",
    message: "All taken.",
    again: false,
  });
  const patient = begin({ patient: true });
  for (let i = 1; i < 4; i += 1) {
    patient.last().open();
    patient.last().hear(FULL);
    assert.deepEqual(patient.states.at(-1), ["waiting", "server_full", 15_000]);
    patient.peer.nudge();
    assert.equal(patient.sockets.length, i, "no network makes a place free");
    patient.timers.advance(15_000);
    assert.equal(patient.sockets.length, i + 1);
  }
});

test("after a break our own old place may be all that is missing: that is waited for", async () => {
  const { last, timers, states, details, goLive } = begin();
  await goLive();
  last().drop();
  let waited_ms = 0;
  while (states.at(-1)[0] === "waiting") {
    const { again, retry_ms } = details.at(-1);
    assert.ok(again && retry_ms <= 15_000);
    waited_ms += retry_ms;
    timers.advance(retry_ms);
    last().open();
    last().hear(FULL);
  }
  assert.deepEqual(states.at(-1).slice(0, 2), ["failed", "server_full"]);
  assert.ok(waited_ms >= 60_000 && waited_ms < 80_000);
});

test("what would fail again the same way is not tried again", () => {
  for (const code of ["engine_failed", "unsupported_protocol", "unknown_avatar", "no_audio"]) {
    const { states, timers, sockets, last, peer } = begin();
    last().open();
    last().hear({ type: "error", code, message: "No.", fatal: code === "engine_failed" });
    assert.deepEqual(states.at(-1), ["failed", code, undefined]);
    timers.advance(120_000);
    assert.equal(sockets.length, 1);
    peer.retryNow();
    assert.equal(sockets.length, 2);
  }
});

test("errors that end nothing are only told", async () => {
  const { last, goLive, told, states } = begin();
  await goLive();
  last().hear({ type: "error", code: "unknown_preset", message: "No preset x.", fatal: false });
  last().hear({ type: "error", code: "bad_message", message: "Hm.", fatal: false });
  assert.deepEqual(told.slice(-2), [
    ["error", "unknown_preset"],
    ["error", "bad_message"],
  ]);
  assert.equal(states.at(-1)[0], "live");
});

test("a short break of the network heals; a long one is lost", async () => {
  const { connection, goLive, last, timers, states } = begin();
  await goLive();
  connection().become("disconnected");
  last().hear({ type: "pong", id: 1 });
  timers.advance(3_000);
  connection().become("connected");
  timers.advance(2_000);
  assert.equal(states.at(-1)[0], "live");
  connection().become("disconnected");
  last().hear({ type: "pong", id: 3 });
  timers.advance(4_000);
  assert.deepEqual(states.at(-1), ["waiting", "connection_lost", 500]);
});

test("where picture and socket are both silent nothing heals, and nobody waits for it", async () => {
  const { connection, goLive, timers, states } = begin();
  await goLive();
  connection().become("disconnected");
  timers.advance(2_500);
  assert.deepEqual(states.at(-1), ["waiting", "connection_lost", 500]);
});

test("a TURN server that gives no way is named, where there is one", async () => {
  const turn = { urls: ["turn:turn.example.org:3478"], username: "u", credential: "c" };
  for (const [candidate, code] of [
    ["host", "relay_silent"],
    ["relay", "media_blocked"],
  ]) {
    const { last, connection, states } = begin();
    last().open();
    last().hear({ ...WELCOME, ice_servers: [turn] });
    await settle();
    connection().onicecandidate({ candidate: { candidate: "c", type: candidate } });
    connection().become("failed");
    assert.deepEqual(states.at(-1).slice(0, 2), ["waiting", code]);
  }
});

test("a nudge asks a live line, ends a countdown, and leaves a fresh attempt alone", async () => {
  const { peer, last, sockets, timers, states, goLive } = begin();
  peer.nudge();
  assert.equal(sockets.length, 1, "this attempt has just begun");
  timers.advance(4_000);
  peer.nudge();
  assert.equal(sockets.length, 2, "this one began in another network, maybe");
  await goLive();
  peer.nudge();
  last().hear({ type: "pong", id: 1 });
  timers.advance(3_000);
  assert.equal(states.at(-1)[0], "live");
  peer.nudge();
  timers.advance(2_500);
  assert.deepEqual(states.at(-1), ["waiting", "connection_lost", 500]);
  peer.nudge();
  assert.equal(sockets.length, 3);
  peer.close();
  peer.nudge();
  assert.equal(sockets.length, 3);
});

test("what happened is told until it is live again, and that it was live before", async () => {
  const { last, timers, details, goLive } = begin();
  last().drop();
  timers.advance(500);
  assert.deepEqual(details.at(-1), { state: "connecting", code: "unreachable", again: false });
  await goLive();
  assert.deepEqual(details.at(-1), { state: "live" });
  last().hear({ type: "goodbye", message: "Back soon.", retry_s: 4 });
  const lost = { code: "goodbye", message: "Back soon.", again: true };
  assert.deepEqual(details.at(-1), { state: "waiting", ...lost, retry_ms: 4500 });
  timers.advance(4500);
  assert.deepEqual(details.at(-1), { state: "connecting", ...lost });
});

test("a goodbye for good, and a link that is used up, end it", () => {
  for (const [message, code] of [
    [{ type: "goodbye", message: "Time is up.", retry_s: null }, "session_over"],
    [{ type: "error", code: "not_allowed", message: "No.", fatal: true }, "signed_out"],
  ]) {
    const { last, states } = begin();
    last().open();
    last().hear(message);
    assert.deepEqual(states.at(-1), ["failed", code, undefined]);
  }
});

test("a server that answers while nothing gets through is named as such", async () => {
  const { last, timers, states } = begin();
  last().open();
  last().hear(WELCOME);
  await settle();
  for (let i = 0; i < 15; i += 1) {
    timers.advance(1_000);
    last().hear({ type: "pong", id: 1 });
  }
  assert.deepEqual(states.at(-1).slice(0, 2), ["waiting", "media_blocked"]);
});

test("close wins, at every moment", async () => {
  /** @type {((world: ReturnType<typeof begin>) => unknown)[]} */
  const moments = [
    () => {},
    ({ last }) => last().open(),
    ({ last }) => (last().open(), last().hear(WELCOME)),
    ({ goLive }) => goLive(),
    async ({ goLive, last }) => (await goLive(), last().drop()),
  ];
  for (const reach of moments) {
    const world = begin();
    await reach(world);
    const { onmessage, onclose } = world.last();
    const { length } = world.states;
    world.peer.close();
    world.peer.close();
    onmessage?.({ data: JSON.stringify(WELCOME) });
    onclose?.({});
    world.connections.at(-1)?.become("failed");
    world.peer.retryNow();
    world.timers.advance(120_000);
    await settle();
    assert.equal(world.peer.state, "closed");
    assert.equal(world.states.length, length, "no state is told after close");
    assert.ok(world.last().closed);
    assert.ok(world.connections.every(({ closed }) => closed));
    assert.equal(world.timers.pending, 0);
  }
});

test("close from within a callback wins too", async () => {
  const { last, peer, connections, hooks } = begin();
  hooks.onWelcome = () => peer.close();
  last().open();
  last().hear(WELCOME);
  await settle();
  assert.equal(connections.length, 0);
  assert.equal(peer.state, "closed");
});

test("another microphone is used at once and after a reconnect", async () => {
  const { peer, connection, goLive, last, timers } = begin();
  await goLive();
  await peer.replaceMicrophone(/** @type {any} */ ("another"));
  assert.equal(connection().transceivers[0].sender.track, "another");
  last().drop();
  timers.advance(500);
  await goLive();
  assert.equal(connection().transceivers[0].trackOrKind, "another");
});

const WATCHING = { microphone: null, watch: "latest" };
const NO_SESSION = { type: "error", code: "unknown_session", message: "None.", fatal: false };

test("a watcher says whom it watches, and asks for sound and picture without sending any", async () => {
  const { last, connection, goLive, peer } = begin(WATCHING);
  await goLive();
  assert.deepEqual(last().sentOf("hello"), [{ type: "hello", protocol: 1, watch: "latest" }]);
  assert.deepEqual(
    connection().transceivers.map(({ trackOrKind, init }) => [trackOrKind, init.direction]),
    [
      ["audio", "recvonly"],
      ["video", "recvonly"],
    ],
  );
  assert.equal(peer.state, "live");
});

test("while there is no session it is asked for again each second, with a socket of its own", () => {
  const { last, timers, sockets, states } = begin(WATCHING);
  for (let i = 1; i < 20; i += 1) {
    last().open();
    last().hear(NO_SESSION);
    assert.deepEqual(states.at(-1), ["waiting", "unknown_session", 1000]);
    assert.ok(last().closed);
    timers.advance(1000);
    assert.equal(sockets.length, i + 1);
  }
});

test("a session that ends is followed by the next one", async () => {
  const { last, timers, states, goLive, connections } = begin(WATCHING);
  await goLive();
  last().hear({ type: "goodbye", message: "The session ended.", retry_s: null });
  assert.deepEqual(states.at(-1), ["waiting", "unknown_session", 1000]);
  timers.advance(1000);
  last().open();
  last().hear(NO_SESSION);
  timers.advance(1000);
  await goLive();
  assert.equal(states.at(-1)[0], "live");
  assert.equal(connections.length, 2);
});

test("a session that was watched by its name is over for good", () => {
  const { last, states } = begin({ microphone: null, watch: "k3v9q2" });
  last().open();
  last().hear(NO_SESSION);
  assert.deepEqual(states.at(-1), ["failed", "session_gone", undefined]);
});

test("a persistent watcher goes on where a page would give up", () => {
  for (const code of ["engine_failed", "unsupported_protocol", "bad_sdp", "unknown_avatar"]) {
    const { last, timers, sockets, states } = begin({ ...WATCHING, persistent: true });
    for (let i = 1; i < 8; i += 1) {
      last().open();
      last().hear({ type: "error", code, message: "No.", fatal: true });
      const [state, told, retry_ms] = states.at(-1);
      assert.deepEqual([state, told], ["waiting", code]);
      timers.advance(retry_ms);
      assert.equal(sockets.length, i + 1);
    }
    assert.equal(states.at(-2)[2], 15_000);
  }
});

test("a page that may not watch says so and stops", () => {
  const { last, states } = begin(WATCHING);
  last().open();
  last().hear({ type: "error", code: "not_allowed", message: "No.", fatal: false });
  assert.deepEqual(states.at(-1), ["failed", "not_allowed", undefined]);
});

test("changed presets are handed over, and a refused change ends nothing", async () => {
  const { last, told, states, goLive } = begin();
  await goLive();
  last().hear({ type: "presets", presets: [] });
  last().hear({ type: "error", code: "not_allowed", message: "No.", fatal: false });
  assert.deepEqual(told.slice(-2), [
    ["presets", 0],
    ["error", "not_allowed"],
  ]);
  assert.equal(states.at(-1)[0], "live");
});

test("the spread of the waits is 20 percent", () => {
  assert.equal(retryDelayMs(1, 0), 800);
  assert.equal(retryDelayMs(1, 1), 1200);
  assert.equal(retryDelayMs(99, 0.5), 15000);
  assert.equal(retryDelayMs(0, 0.5, { code: "server_full" }), 15000);
  assert.equal(retryDelayMs(9, 0.5, { code: "unknown_session" }), 1000);
});

test("a wait that the server names is never shortened", () => {
  assert.equal(retryDelayMs(7, 0, { code: "goodbye", retry_s: 3 }), 3000);
  assert.equal(retryDelayMs(0, 1, { code: "goodbye", retry_s: 3 }), 3750);
  assert.equal(retryDelayMs(0, 0.5, { retry_s: null }), 500);
});
