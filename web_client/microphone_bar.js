// @ts-check
/** The bar below the stage while somebody speaks: which microphone, how loud, mute. */

import { barFraction, EMPTY_METER, moveMeter } from "./level.js";
import { WORDS } from "./messages.js";
import { Microphone, MicrophoneError } from "./microphone.js";

/** A voice is far above this; a dead input stays below. */
const NO_SOUND_DBFS = -75;
const NO_SOUND_AFTER_S = 8;
const METER_EVERY_MS = 50;

/**
 * @typedef {object} MicrophoneEvents
 * @property {(track: MediaStreamTrack) => Promise<void>} onTrack another device took over
 * @property {() => void} onLost the device went away and there is no other
 * @property {(on: boolean) => void} onMute
 * @property {(text: string) => void} onTip one sentence for the user; "" takes it away
 */

export class MicrophoneBar {
  muted = false;

  #elements;
  #events;
  #microphone = new Microphone(() => void this.#replaceLost());
  /** @type {string | null} */
  #chosen = null;
  /** Somebody is being listened to: silence is worth a word, and a new device is taken over. */
  #live = false;
  #running = false;
  #meter = EMPTY_METER;
  #meterAt_ms = performance.now();
  #quiet_s = 0;

  /**
   * @param {{select: HTMLSelectElement, meter: HTMLElement, mute: HTMLButtonElement}} elements
   * @param {MicrophoneEvents} events
   */
  constructor(elements, events) {
    this.#elements = elements;
    this.#events = events;
    elements.select.addEventListener("change", () => void this.#change());
    elements.mute.addEventListener("click", () => this.#toggleMute());
    navigator.mediaDevices?.addEventListener("devicechange", () => {
      if (this.#running) void this.list();
    });
    setInterval(() => this.#drawMeter(), METER_EVERY_MS);
  }

  /** @returns {Promise<MediaStreamTrack>} @throws {MicrophoneError} */
  async open() {
    try {
      return await this.#microphone.open(this.#chosen);
    } catch (error) {
      if (error instanceof MicrophoneError && error.code === "microphone_missing") {
        this.#chosen = null;
      }
      throw error;
    }
  }

  close() {
    this.#microphone.close();
  }

  /** @param {boolean} running there is a conversation, or one is coming @param {boolean} live */
  enable(running, live) {
    this.#running = running;
    this.#live = live;
    this.#elements.mute.disabled = !running;
  }

  /** Names are known only after permission. */
  async list() {
    const { select } = this.#elements;
    const devices = await this.#microphone.devices();
    if (devices.length === 0) return;
    const present = this.#microphone.deviceId;
    select.replaceChildren(
      ...devices.map((device, index) => {
        const label = device.label || `Microphone ${index + 1}`;
        return new Option(label, device.deviceId, false, device.deviceId === present);
      }),
    );
    select.disabled = false;
  }

  async #change() {
    this.#chosen = this.#elements.select.value || null;
    if (!this.#running) return;
    try {
      await this.#events.onTrack(await this.#microphone.open(this.#chosen));
      this.#events.onTip("");
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.#chosen = this.#microphone.deviceId;
      this.#events.onTip(WORDS.microphoneKept);
    }
    void this.list();
  }

  async #replaceLost() {
    this.#chosen = null;
    try {
      const track = await this.#microphone.open(null);
      if (!this.#running) return this.#microphone.close();
      await this.#events.onTrack(track);
      this.#events.onTip(WORDS.microphoneSwitched);
      void this.list();
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.#events.onLost();
    }
  }

  #toggleMute() {
    this.muted = !this.muted;
    this.#microphone.mute(this.muted);
    this.#elements.mute.setAttribute("aria-pressed", String(this.muted));
    this.#events.onMute(this.muted);
  }

  #drawMeter() {
    const { meter } = this.#elements;
    const now_ms = performance.now();
    const elapsed_s = (now_ms - this.#meterAt_ms) / 1000;
    this.#meterAt_ms = now_ms;
    const dbfs = this.#microphone.level_dbfs();
    this.#meter = moveMeter(this.#meter, barFraction(dbfs), elapsed_s);
    meter.style.setProperty("--level", this.#meter.level.toFixed(3));
    meter.style.setProperty("--peak", this.#meter.peak.toFixed(3));
    meter.setAttribute("aria-valuenow", String(Math.round(this.#meter.level * 100)));

    const wasQuiet = this.#quiet_s > NO_SOUND_AFTER_S;
    const quiet = this.#live && !this.muted && dbfs < NO_SOUND_DBFS;
    this.#quiet_s = quiet ? this.#quiet_s + elapsed_s : 0;
    const isQuiet = this.#quiet_s > NO_SOUND_AFTER_S;
    if (isQuiet !== wasQuiet) this.#events.onTip(isQuiet ? WORDS.noSound : "");
  }
}
