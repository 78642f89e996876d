// @ts-check
/**
 * /stage: only the avatar of a running session, for an OBS browser source or a screen on a wall.
 *
 * It watches, comes back by itself whatever happens, and shows nothing while there is nothing.
 */

import { socketAddress } from "./address.js";
import { find, inspectable } from "./dom.js";
import { FrameCounter } from "./figures.js";
import { watchNetwork } from "./network_watch.js";
import { Peer } from "./peer.js";
import { readOptions } from "./stage_options.js";
import { Still } from "./still.js";

/** A picture that stands longer than this is worse than none. */
const STILL_MS = 5_000;
/** Of the picture's appearance, in stage.css. */
const FADE_MS = 250;
/** There is nobody to be seen: what stands there would be a lie. */
const NOBODY = new Set(["unknown_session", "session_gone", "session_over"]);

const options = readOptions(location.search, location.hash, (colour) =>
  CSS.supports("color", colour),
);
const video = find("video", HTMLVideoElement);
const placeholder = find("placeholder", HTMLImageElement);
const unmute = find("unmute", HTMLButtonElement);
const still = new Still(video, find("still", HTMLCanvasElement));
const frames = new FrameCounter();
let state = "connecting";
let session = "";

document.documentElement.style.setProperty("--background", options.background);
document.body.dataset["fit"] = options.fit;

const peer = new Peer({
  openSocket: () => new WebSocket(socketAddress(document.baseURI)),
  microphone: null,
  watch: options.session,
  persistent: true,
  onWelcome: (welcome) => {
    session = welcome.session;
    showPlaceholder(welcome.avatar.name);
  },
  onStream: (stream) => void play(stream),
  onState: (next, { code }) => {
    state = next;
    if (next !== "live") clear(code);
    // The only place where somebody might look for a reason.
    if (next === "waiting" && code !== "unknown_session") console.info(`Stage: ${code}.`);
  },
  onServerState: () => {},
  onServerError: ({ message }) => console.info(`Stage: ${message}`),
});

/** Called for each track of the stream. @param {MediaStream} stream */
async function play(stream) {
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  await hear();
}

/** Browsers let a page speak only after a click; OBS and kiosks are told to let it. */
async function hear() {
  video.muted = !options.voice;
  unmute.hidden = true;
  const stream = video.srcObject;
  try {
    await video.play();
  } catch (error) {
    const blocked = error instanceof DOMException && error.name === "NotAllowedError";
    if (!blocked || video.srcObject !== stream) return;
    video.muted = true;
    unmute.hidden = false;
    await video.play().catch(() => {});
  }
}

/** A short break leaves the last picture standing, so that nobody sees the stage empty for a moment. @param {string} [code] */
function clear(code) {
  if (NOBODY.has(code ?? "")) still.drop();
  else still.keep(STILL_MS);
  frames.pause();
  document.body.dataset["live"] = "false";
  video.srcObject = null;
  unmute.hidden = true;
}

/** @param {string} avatar */
function showPlaceholder(avatar) {
  if (!options.placeholder) return;
  placeholder.src = `avatar/${encodeURIComponent(avatar)}/preview.png`;
  placeholder.hidden = false;
}

/** Also before anybody has spoken there is a picture to show. */
async function findPlaceholder() {
  const response = await fetch("api/avatars");
  const first = response.ok ? (await response.json())[0] : null;
  if (first && placeholder.hidden) showPlaceholder(first.name);
}

// The first picture, not the first packet, is what makes the stage visible.
/** @type {VideoFrameRequestCallback} */
function onFrame(_now, { presentationTime }) {
  frames.show(presentationTime);
  const first = document.body.dataset["live"] !== "true";
  if (first && (state === "live" || state === "connecting")) {
    document.body.dataset["live"] = "true";
    setTimeout(() => still.drop(), FADE_MS);
  }
  video.requestVideoFrameCallback(onFrame);
}
if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(onFrame);
else
  /** @type {HTMLVideoElement} */ (video).addEventListener("playing", () => {
    document.body.dataset["live"] = "true";
  });

unmute.addEventListener("click", () => void hear());
watchNetwork(() => peer.nudge());
window.addEventListener("pagehide", () => peer.close());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
if (options.placeholder) void findPlaceholder().catch(() => {});

inspectable(() => ({ state, session, framesShown: frames.shown }));
