// @ts-check
/**
 * The page from top to bottom: Start -> microphone -> server -> live; and back when something fails.
 *
 * With ?watch=latest or ?watch=SESSION in its address it opens no microphone: it shows, and steers,
 * a session that somebody else speaks through, for example a voice agent.
 */

import { isLocal, socketAddress } from "./address.js";
import { AvatarChoice } from "./avatar_choice.js";
import { find, inspectable } from "./dom.js";
import { Head } from "./head.js";
import { figureElements, headElements, prepareToWatch, stageElements } from "./elements.js";
import { HealthLine } from "./health_line.js";
import { LiveFigures } from "./live_figures.js";
import { WATCH_WORDS, WORDS } from "./messages.js";
import { MicrophoneError, missingAbility } from "./microphone.js";
import { MicrophoneBar } from "./microphone_bar.js";
import { watchNetwork } from "./network_watch.js";
import { showState } from "./page_state.js";
import { Peer } from "./peer.js";
import { Plugins } from "./plugins.js";
import { say } from "./protocol.js";
import { Stage } from "./stage.js";
import { Toast } from "./toast.js";

/** @typedef {import("./protocol.js").State} ServerState */
/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./page_state.js").PageState} PageState */

const query = new URLSearchParams(location.search);
const watch = query.get("watch");
const words = watch ? { ...WORDS, ...WATCH_WORDS } : { ...WORDS, quiet: "listening" };

const startButton = find("start", HTMLButtonElement);
const stopButton = find("stop", HTMLButtonElement);
const interruptButton = find("interrupt", HTMLButtonElement);
const noticeAction = find("notice-action", HTMLButtonElement);
const noticeStop = find("notice-stop", HTMLButtonElement);
const noticeWish = find("notice-wish", HTMLButtonElement);
const hearSwitch = find("hear", HTMLInputElement);
const tip = find("tip", HTMLElement);

const stage = new Stage(stageElements(), watch !== null);
const toast = new Toast({
  toast: find("toast", HTMLElement),
  text: find("toast-text", HTMLElement),
  action: find("toast-action", HTMLButtonElement),
});
const head = new Head(headElements(), toast, send);
const microphone = new MicrophoneBar(
  {
    select: find("microphone-select", HTMLSelectElement),
    meter: find("meter", HTMLElement),
    mute: find("mute", HTMLButtonElement),
  },
  {
    onTrack: async (track) => peer?.replaceMicrophone(track),
    onLost: () => fail("microphone_lost"),
    onMute: (on) => {
      send(say.mute(on));
      showBadge();
    },
    onTip: showTip,
  },
);
const figures = new LiveFigures(figureElements(), stage.frames, words.quiet);
const health = new HealthLine(find("health", HTMLElement), stage.frames);
const avatars = new AvatarChoice(
  {
    box: find("avatar-choice", HTMLElement),
    select: find("avatar-select", HTMLSelectElement),
  },
  showAvatar,
  () => void (peer && start()),
);
const plugins = new Plugins({
  column: find("side", HTMLElement),
  base: document.baseURI,
  say: send,
  message: showTip,
});

/** @type {PageState} */
let state = "idle";
/** @type {Peer | null} */
let peer = null;
/** @type {ServerState | null} */
let serverState = null;
/** Which attempt of start() is the newest: an older one that wakes up late gives up. */
let run = 0;

// ---------------------------------------------------------------- the story

/** @param {{patient?: boolean}} [wish] `patient`: to wait for a place where there is none */
async function start({ patient = false } = {}) {
  const mine = (run += 1);
  peer?.close();
  peer = null;
  const missing = missingAbility(watch === null);
  if (missing) return fail(missing);

  let track = null;
  if (watch === null) {
    enter("asking");
    try {
      track = await microphone.open();
    } catch (error) {
      if (mine !== run) return;
      if (!(error instanceof MicrophoneError)) throw error;
      return fail(error.code);
    }
    if (mine !== run) return microphone.close();
    void microphone.list();
  }

  /** @type {string | null} */
  let session = null;
  peer = new Peer({
    openSocket: () => new WebSocket(socketAddress(document.baseURI)),
    microphone: track,
    avatar: watch === null ? avatars.name : null,
    watch,
    patient,
    onState: (next, detail) => {
      if (mine !== run) return;
      enter(next, detail);
      plugins.setSession(next === "live" ? session : null);
    },
    onStream: (stream) => {
      stage.play(stream);
      void hear();
    },
    onWelcome: (welcome) => {
      session = welcome.session;
      showAvatar(welcome.avatar);
      head.setCanEdit(welcome.can_edit);
      head.setCanSteer(welcome.can_steer);
      interruptButton.hidden = watch === null || !welcome.can_steer;
      plugins.take(welcome.plugins);
    },
    onPresets: (presets) => head.setPresets(presets),
    onServerState: showServerState,
    onServerError: (error) => {
      if (!head.takeError(error) && error.code !== "too_fast") showTip(error.message);
    },
  });
}

function stop() {
  leave();
  stage.clear();
  enter("idle");
  startButton.focus();
}

/** @param {string} code */
function fail(code) {
  leave();
  enter("failed", { code });
}

function leave() {
  run += 1;
  peer?.close();
  peer = null;
  microphone.close();
  plugins.setSession(null);
}

/** Everything that looks different from one state to the next. @param {PageState} next @param {import("./peer.js").Detail} [detail] */
function enter(next, detail = {}) {
  state = next;
  const running = next === "connecting" || next === "live" || next === "waiting";
  stopButton.disabled = !running;
  interruptButton.disabled = next !== "live";
  microphone.enable(running, watch === null && next === "live");
  head.enable(next === "live");
  if (next === "idle" || next === "failed") head.setCanEdit(false);
  if (next === "failed") microphone.close();
  if (next !== "live") {
    serverState = null;
    figures.show(null);
  }
  health.enable(next === "live");
  showTip("");
  showState(stage, words, next, detail, !navigator.onLine && !isLocal(location.hostname));
  noticeAction.dataset["code"] = detail.code ?? "";
  if (next !== "live") return;
  if (watch === null) restoreWishes();
  else head.forget();
}

/** A new session of the server knows nothing of what was set before the connection broke. */
function restoreWishes() {
  head.restore();
  if (microphone.muted) send(say.mute(true));
}

/** @param {ClientMessage} message */
function send(message) {
  peer?.send(message);
}

async function hear() {
  if (await stage.hear(hearSwitch.checked)) return;
  hearSwitch.checked = false;
  showTip(words.voiceBlocked);
}

// ---------------------------------------------------------------- what is shown

/** @param {string} text */
function showTip(text) {
  tip.textContent = text;
}

/** @param {import("./protocol.js").Avatar} avatar */
function showAvatar(avatar) {
  stage.setAvatar(avatar);
  head.setAvatar(avatar);
}

/** @param {ServerState} next */
function showServerState(next) {
  serverState = next;
  head.follow(next);
  health.follow(next);
  plugins.setState(next);
  showBadge();
  figures.show(state === "live" ? next : null);
}

function showBadge() {
  if (state !== "live") return;
  if (microphone.muted) stage.setState(words.muted, "muted");
  else if (serverState?.speaking) stage.setState(words.speaking, "speaking");
  else stage.setState(words.listening, "listening");
}

// ---------------------------------------------------------------- wiring

startButton.addEventListener("click", () => void start());
stopButton.addEventListener("click", stop);
interruptButton.addEventListener("click", () => send(say.interrupt()));
find("cancel", HTMLButtonElement).addEventListener("click", stop);
noticeStop.addEventListener("click", stop);
noticeWish.addEventListener("click", () => void start({ patient: true }));
noticeAction.addEventListener("click", () => {
  if (state === "waiting") peer?.retryNow();
  else if (noticeAction.dataset["code"] === "unsupported_protocol") location.reload();
  else void start();
});
hearSwitch.addEventListener("change", () => void hear());
document.addEventListener("keydown", (event) => {
  if (head.takeKey(event)) event.preventDefault();
});
watchNetwork(() => peer?.nudge());
window.addEventListener("pagehide", () => peer?.close());
window.addEventListener("pageshow", (event) => event.persisted && stop());

async function measure() {
  const report = await peer?.stats();
  figures.measure(report);
  health.measure(report);
}
setInterval(() => void measure(), 1000);

inspectable(() => ({
  state,
  framesShown: stage.frames.shown,
  longestGapMs: stage.frames.longestGap_ms,
  fps: stage.frames.fps(performance.now()),
  latencyMs: figures.latency_ms,
  speaking: serverState?.speaking ?? false,
}));

if (watch) prepareToWatch(watch);
// A page that cannot work says so before anybody presses Start.
const missing = missingAbility(watch === null);
if (missing) fail(missing);
else if (watch === null) void microphone.list();
void avatars
  .load(query.get("avatar"))
  .catch((error) => console.warn("The list of avatars could not be read.", error));
