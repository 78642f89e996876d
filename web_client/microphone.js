// @ts-check
/** The microphone: permission, choice of device, one track, and how loud it is. */

import { levelDbfs } from "./level.js";

/** A failure with a code of messages.js. */
export class MicrophoneError extends Error {
  name = "MicrophoneError";

  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/**
 * Whether this page can do its work at all.
 *
 * @param {boolean} speaks a page that only watches needs no microphone
 * @returns {string | null} a code of messages.js
 */
export function missingAbility(speaks) {
  if (typeof RTCPeerConnection === "undefined") return "no_webrtc";
  if (!speaks) return null;
  if (!window.isSecureContext) return "insecure_origin";
  return navigator.mediaDevices ? null : "no_webrtc";
}

/** @param {unknown} error from getUserMedia @returns {string} a code of messages.js */
export function codeOf(error) {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "microphone_denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "microphone_missing";
    case "NotReadableError":
    case "AbortError":
      return "microphone_busy";
    default:
      return "microphone_busy";
  }
}

/** @param {string | null} deviceId null: the browser's default @returns {MediaStreamConstraints} */
export function constraints(deviceId) {
  return {
    audio: {
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
      channelCount: 1,
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
    },
  };
}

export class Microphone {
  #onLost;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  #samples = new Float32Array(1024);
  #muted = false;

  /** @param {() => void} onLost the device went away by itself */
  constructor(onLost) {
    this.#onLost = onLost;
  }

  /**
   * Opens a device, in place of the one before.
   *
   * @param {string | null} deviceId
   * @returns {Promise<MediaStreamTrack>}
   * @throws {MicrophoneError} and then the device before is still open
   */
  async open(deviceId) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(constraints(deviceId));
    } catch (error) {
      throw new MicrophoneError(codeOf(error));
    }
    const track = stream.getAudioTracks()[0];
    if (!track) throw new MicrophoneError("microphone_missing");
    this.#release();
    this.#stream = stream;
    track.enabled = !this.#muted;
    track.onended = () => this.#onLost();
    this.#listen(stream);
    return track;
  }

  /** @returns {string | null} */
  get deviceId() {
    return this.#stream?.getAudioTracks()[0]?.getSettings().deviceId ?? null;
  }

  /** Names are known only after permission. @returns {Promise<MediaDeviceInfo[]>} */
  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((device) => device.kind === "audioinput" && device.deviceId !== "");
  }

  /** Mutes at the source: no sound leaves this machine. @param {boolean} muted */
  mute(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** @returns {number} dBFS of the last 20 ms; -120 when closed */
  level_dbfs() {
    if (!this.#analyser) return -120;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return levelDbfs(this.#samples);
  }

  /** May be called again. */
  close() {
    this.#release();
    void this.#context?.close();
    this.#context = null;
    this.#analyser = null;
  }

  /** @param {MediaStream} stream */
  #listen(stream) {
    if (typeof AudioContext === "undefined") return;
    this.#context ??= new AudioContext();
    // Started by the click on Start; a browser that still holds it back only loses the meter.
    void this.#context.resume().catch(() => {});
    if (!this.#analyser) {
      this.#analyser = this.#context.createAnalyser();
      this.#analyser.fftSize = this.#samples.length;
    }
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  #release() {
    this.#source?.disconnect();
    this.#source = null;
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#stream = null;
  }
}
