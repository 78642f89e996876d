// @ts-check
/**
 * The page from top to bottom: Start -> microphone -> server -> live; and back when something fails.
 */

import { bufferDelay_ms, networkDelay } from "./figures.js";
import { barFraction, EMPTY_METER, moveMeter } from "./level.js";
import { WORDS } from "./messages.js";
import { Microphone, MicrophoneError, missingAbility } from "./microphone.js";
import { Peer } from "./peer.js";
import { PosePad } from "./pose_pad.js";
import { checkAvatar, say } from "./protocol.js";
import { Stage } from "./stage.js";

/** @typedef {import("./protocol.js").Avatar} Avatar */
/** @typedef {import("./protocol.js").State} ServerState */
/** @typedef {"idle" | "asking" | import("./peer.js").PeerState} PageState */

/** A voice is far above this; a dead input stays below. */
const NO_SOUND_DBFS = -75;
const NO_SOUND_AFTER_S = 8;

/** @template {Element} E @param {string} id @param {new () => E} kind @returns {E} */
function find(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}.`);
  return element;
}

const startButton = find("start", HTMLButtonElement);
const stopButton = find("stop", HTMLButtonElement);
const muteButton = find("mute", HTMLButtonElement);
const noticeAction = find("notice-action", HTMLButtonElement);
const noticeStop = find("notice-stop", HTMLButtonElement);
const microphoneSelect = find("microphone-select", HTMLSelectElement);
const avatarSelect = find("avatar-select", HTMLSelectElement);
const hearSwitch = find("hear", HTMLInputElement);
const meterElement = find("meter", HTMLElement);
const tip = find("tip", HTMLElement);
const figures = {
  fps: find("figure-fps", HTMLElement),
  latency: find("figure-latency", HTMLElement),
  state: find("figure-state", HTMLElement),
  late: find("figure-late", HTMLElement),
};

const stage = new Stage({
  stage: find("stage", HTMLElement),
  preview: find("preview", HTMLImageElement),
  video: find("video", HTMLVideoElement),
  stateText: find("state-text", HTMLElement),
  synthetic: find("synthetic", HTMLElement),
  pitch: find("pitch", HTMLElement),
  lead: find("lead", HTMLElement),
  wait: find("wait", HTMLElement),
  waitText: find("wait-text", HTMLElement),
  notice: find("notice", HTMLElement),
  title: find("notice-title", HTMLElement),
  text: find("notice-text", HTMLElement),
  countdown: find("notice-countdown", HTMLElement),
  action: noticeAction,
  stop: noticeStop,
});

const head = new PosePad(
  {
    pad: find("pad", HTMLElement),
    handle: find("pad-handle", HTMLElement),
    actual: find("pad-actual", HTMLElement),
    roll: find("roll", HTMLInputElement),
    rollValue: find("roll-value", HTMLOutputElement),
    presets: find("presets", HTMLElement),
    natural: find("natural", HTMLButtonElement),
  },
  sendWish,
);

const microphone = new Microphone(() => void replaceLostMicrophone());

/** @type {PageState} */
let state = "idle";
/** @type {Peer | null} */
let peer = null;
/** @type {ServerState | null} */
let serverState = null;
/** @type {string | null} */
let chosenDevice = null;
let muted = false;
/** Which attempt of start() is the newest: an older one that wakes up late gives up. */
let run = 0;
let latency_ms = NaN;

// ---------------------------------------------------------------- the story

async function start() {
  const mine = (run += 1);
  peer?.close();
  peer = null;
  const missing = missingAbility();
  if (missing) return fail(missing);

  enter("asking");
  let track;
  try {
    track = await microphone.open(chosenDevice);
  } catch (error) {
    if (mine !== run) return;
    if (!(error instanceof MicrophoneError)) throw error;
    if (error.code === "microphone_missing") chosenDevice = null;
    return fail(error.code);
  }
  if (mine !== run) return microphone.close();
  void listMicrophones();

  peer = new Peer({
    openSocket: () => new WebSocket(new URL("ws", socketBase())),
    microphone: track,
    avatar: avatarSelect.value || null,
    onState: (next, detail) => {
      if (mine === run) enter(next, detail);
    },
    onStream: (stream) => {
      stage.play(stream);
      void hear();
    },
    onWelcome: ({ avatar }) => showAvatar(avatar),
    onServerState: showServerState,
    onServerError: ({ code, message }) => {
      if (code !== "too_fast") tip.textContent = message;
    },
  });
}

function stop() {
  run += 1;
  peer?.close();
  peer = null;
  microphone.close();
  stage.clear();
  enter("idle");
  startButton.focus();
}

/** @param {string} code */
function fail(code) {
  peer?.close();
  peer = null;
  enter("failed", { code });
}

/** Everything that looks different from one state to the next. @param {PageState} next @param {{code?: string, retry_ms?: number}} [detail] */
function enter(next, detail = {}) {
  state = next;
  const running = next === "connecting" || next === "live" || next === "waiting";
  stopButton.disabled = !running;
  muteButton.disabled = !running;
  head.enable(next === "live");
  if (next !== "live") {
    serverState = null;
    latency_ms = NaN;
    showFigures();
  }
  tip.textContent = "";
  switch (next) {
    case "idle":
      stage.setState(WORDS.ready, "ready");
      stage.showIdle();
      break;
    case "asking":
      stage.setState(WORDS.asking, "busy");
      stage.showBusy(WORDS.askingHint);
      break;
    case "connecting":
      stage.setState(WORDS.connecting, "busy");
      stage.showBusy(WORDS.connectingHint);
      break;
    case "live":
      stage.setState(WORDS.listening, "listening");
      stage.showLive();
      restoreWishes();
      break;
    case "waiting":
      stage.freeze();
      stage.setState(WORDS.waiting, "busy");
      stage.showNotice(detail.code ?? "connection_lost", detail.retry_ms ?? 0);
      break;
    case "failed":
      microphone.close();
      stage.freeze();
      stage.setState(WORDS.failed, "failed");
      stage.showNotice(detail.code ?? "");
      noticeAction.dataset["code"] = detail.code ?? "";
      break;
    case "closed":
      break;
  }
}

/** A new session of the server knows nothing of what was set before the connection broke. */
function restoreWishes() {
  if (head.wish.kind !== "natural") sendWish(head.wish);
  if (muted) peer?.send(say.mute(true));
}

/** @param {import("./pose_pad.js").Wish} wish */
function sendWish(wish) {
  if (wish.kind === "natural") peer?.send(say.natural());
  else if (wish.kind === "preset") peer?.send(say.preset(wish.preset.name));
  else peer?.send(say.pose(wish.pose, wish.ease_s));
}

// ---------------------------------------------------------------- microphone and voice

async function listMicrophones() {
  const devices = await microphone.devices();
  if (devices.length === 0) return;
  microphoneSelect.replaceChildren(
    ...devices.map((device, index) => {
      const label = device.label || `Microphone ${index + 1}`;
      return new Option(label, device.deviceId, false, device.deviceId === microphone.deviceId);
    }),
  );
  microphoneSelect.disabled = false;
}

async function changeMicrophone() {
  chosenDevice = microphoneSelect.value || null;
  if (!peer) return;
  try {
    await peer.replaceMicrophone(await microphone.open(chosenDevice));
    tip.textContent = "";
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    chosenDevice = microphone.deviceId;
    tip.textContent = WORDS.microphoneKept;
  }
  void listMicrophones();
}

async function replaceLostMicrophone() {
  chosenDevice = null;
  try {
    const track = await microphone.open(null);
    if (!peer) return microphone.close();
    await peer.replaceMicrophone(track);
    tip.textContent = WORDS.microphoneSwitched;
    void listMicrophones();
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    fail("microphone_lost");
  }
}

function toggleMute() {
  muted = !muted;
  microphone.mute(muted);
  peer?.send(say.mute(muted));
  muteButton.setAttribute("aria-pressed", String(muted));
  showBadge();
}

async function hear() {
  if (await stage.hear(hearSwitch.checked)) return;
  hearSwitch.checked = false;
  tip.textContent = WORDS.voiceBlocked;
}

let meter = EMPTY_METER;
let meterAt_ms = performance.now();
let quiet_s = 0;
function drawMeter() {
  const now_ms = performance.now();
  const elapsed_s = (now_ms - meterAt_ms) / 1000;
  meterAt_ms = now_ms;
  const dbfs = microphone.level_dbfs();
  meter = moveMeter(meter, barFraction(dbfs), elapsed_s);
  meterElement.style.setProperty("--level", meter.level.toFixed(3));
  meterElement.style.setProperty("--peak", meter.peak.toFixed(3));
  meterElement.setAttribute("aria-valuenow", String(Math.round(meter.level * 100)));

  const wasQuiet = quiet_s > NO_SOUND_AFTER_S;
  quiet_s = state === "live" && !muted && dbfs < NO_SOUND_DBFS ? quiet_s + elapsed_s : 0;
  const isQuiet = quiet_s > NO_SOUND_AFTER_S;
  if (isQuiet && !wasQuiet) tip.textContent = WORDS.noSound;
  if (!isQuiet && wasQuiet) tip.textContent = "";
}

// ---------------------------------------------------------------- what is shown

/** @param {Avatar} avatar */
function showAvatar(avatar) {
  stage.setAvatar(avatar);
  head.setAvatar(avatar);
}

/** @param {ServerState} next */
function showServerState(next) {
  serverState = next;
  head.showActual(next.pose);
  showBadge();
  showFigures();
}

function showBadge() {
  if (state !== "live") return;
  if (muted) stage.setState(WORDS.muted, "muted");
  else if (serverState?.speaking) stage.setState(WORDS.speaking, "speaking");
  else stage.setState(WORDS.listening, "listening");
}

function showFigures() {
  const fps = stage.frames.fps(performance.now());
  const live = state === "live" && serverState !== null;
  figures.fps.textContent = live ? fps.toFixed(1) : "–";
  figures.latency.textContent = live && latency_ms >= 0 ? `${Math.round(latency_ms)} ms` : "–";
  figures.state.textContent = live ? (serverState?.speaking ? "speaking" : "listening") : "–";
  figures.late.textContent = live ? String(serverState?.late) : "–";
}

/** Mouth to screen: what the server measures, the way there and back, and the browser's own buffer. */
/** @type {import("./figures.js").Buffered | null} */
let bufferedBefore = null;
async function measureLatency() {
  const report = await peer?.stats();
  if (!report || !serverState) {
    bufferedBefore = null;
    return;
  }
  const { roundTrip_ms, buffered } = networkDelay(report.values());
  const waiting_ms = bufferDelay_ms(bufferedBefore, buffered);
  bufferedBefore = buffered;
  latency_ms = serverState.latency_ms + roundTrip_ms + waiting_ms;
}

async function showAvatars() {
  const response = await fetch("api/avatars");
  if (!response.ok) return;
  /** @type {Avatar[]} */
  const avatars = await response.json();
  avatars.forEach((avatar, index) => checkAvatar(avatar, `avatars[${index}]`));
  const wanted = new URLSearchParams(location.search).get("avatar");
  const first = avatars.find(({ name }) => name === wanted) ?? avatars[0];
  if (!first) return;
  avatarSelect.replaceChildren(
    ...avatars.map(({ name, label }) => new Option(label, name, false, name === first.name)),
  );
  find("avatar-choice", HTMLElement).hidden = avatars.length < 2;
  avatarSelect.addEventListener("change", () => {
    const avatar = avatars.find(({ name }) => name === avatarSelect.value);
    if (avatar) showAvatar(avatar);
    if (peer) void start();
  });
  showAvatar(first);
}

/** @returns {URL} the page's own address with ws: for http: */
function socketBase() {
  const base = new URL(document.baseURI);
  base.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  return base;
}

// ---------------------------------------------------------------- wiring

startButton.addEventListener("click", () => void start());
stopButton.addEventListener("click", stop);
find("cancel", HTMLButtonElement).addEventListener("click", stop);
noticeStop.addEventListener("click", stop);
noticeAction.addEventListener("click", () => {
  if (state === "waiting") peer?.retryNow();
  else if (noticeAction.dataset["code"] === "unsupported_protocol") location.reload();
  else void start();
});
muteButton.addEventListener("click", toggleMute);
microphoneSelect.addEventListener("change", () => void changeMicrophone());
hearSwitch.addEventListener("change", () => void hear());
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (peer) void listMicrophones();
});
window.addEventListener("online", () => peer?.state === "waiting" && peer.retryNow());
window.addEventListener("pagehide", () => peer?.close());
window.addEventListener("pageshow", (event) => event.persisted && stop());

setInterval(drawMeter, 50);
setInterval(() => void measureLatency(), 1000);

/** Read-only, for tests and for the curious: `daetalker.framesShown` in the browser's console. */
Object.defineProperty(window, "daetalker", {
  value: Object.freeze({
    get state() {
      return state;
    },
    get framesShown() {
      return stage.frames.shown;
    },
    get longestGapMs() {
      return stage.frames.longestGap_ms;
    },
    get fps() {
      return stage.frames.fps(performance.now());
    },
    get latencyMs() {
      return latency_ms;
    },
    get speaking() {
      return serverState?.speaking ?? false;
    },
  }),
});

// A page that cannot work says so before anybody presses Start.
const missing = missingAbility();
if (missing) fail(missing);
else void listMicrophones();
void showAvatars().catch((error) => console.warn("The list of avatars could not be read.", error));
