// @ts-check
/**
 * Whether picture and voice can be as they should: what the server says of its load, and what the page
 * sees of the way between. Time comes in as arguments; nothing here looks at a clock.
 */

/** @typedef {"" | "frozen" | "overloaded" | "reduced" | "lossy" | "slow"} Trouble */
/** @typedef {import("./protocol.js").State["load"]} Load */

/**
 * Counted from the beginning of the connection, in both directions.
 * @typedef {{lost: number, received: number, roundTrip_ms: number}} Traffic
 */

/** A live picture changes 25 times a second. */
const FROZEN_AFTER_MS = 1_000;
/** Of the packets of the last seconds; below that, the browser hides most of it. */
const LOSSY_SHARE = 0.03;
const FEWEST_PACKETS = 50;
const WINDOW_S = 5;
/** To the server and back: lips and voice stay together, but every answer of the page comes late. */
const SLOW_MS = 400;
/** A line that comes and goes faster than it can be read would be trouble of its own. */
const SHOWN_AT_LEAST_MS = 2_000;
/** So long without any trouble, and it is over. */
const CALM_MS = 1_000;

/** Which one is told where there are several: the one that explains the others. */
const ORDER = /** @type {const} */ (["frozen", "overloaded", "reduced", "lossy", "slow"]);

export class Health {
  /** @type {Trouble} */
  #told = "";
  #since_ms = -Infinity;
  #lastTrouble_ms = -Infinity;
  /** @type {Load} */
  #load = "ok";
  #lastPicture_ms = NaN;
  /** @type {{at_ms: number, lost: number, received: number}[]} */
  #traffic = [];
  #roundTrip_ms = 0;

  /** A connection begins: what was known is about another one. @param {number} now_ms */
  begin(now_ms) {
    this.#told = "";
    this.#since_ms = -Infinity;
    this.#load = "ok";
    this.#lastPicture_ms = now_ms;
    this.#traffic = [];
    this.#roundTrip_ms = 0;
  }

  /** @param {Load} load */
  takeLoad(load) {
    this.#load = load;
  }

  /** @param {number} at_ms a picture was shown, or nobody could see whether one was */
  takePicture(at_ms) {
    this.#lastPicture_ms = at_ms;
  }

  /** @param {number} now_ms @param {Traffic} traffic once a second */
  takeTraffic(now_ms, { lost, received, roundTrip_ms }) {
    this.#roundTrip_ms = roundTrip_ms;
    this.#traffic.push({ at_ms: now_ms, lost, received });
    while (this.#traffic[0] && now_ms - this.#traffic[0].at_ms > WINDOW_S * 1000) {
      this.#traffic.shift();
    }
  }

  /**
   * What to say now. A trouble once said stays for two seconds, unless a standing picture follows, and
   * until it has been gone for one.
   *
   * @param {number} now_ms
   * @returns {Trouble}
   */
  trouble(now_ms) {
    const present = ORDER.find((trouble) => this.#is(trouble, now_ms)) ?? "";
    if (present) this.#lastTrouble_ms = now_ms;
    const young = this.#told !== "" && now_ms - this.#since_ms < SHOWN_AT_LEAST_MS;
    const recent = !present && now_ms - this.#lastTrouble_ms < CALM_MS;
    if (present !== this.#told && ((!young && !recent) || present === "frozen")) {
      this.#told = present;
      this.#since_ms = now_ms;
    }
    return this.#told;
  }

  /** @param {Exclude<Trouble, "">} trouble @param {number} now_ms @returns {boolean} */
  #is(trouble, now_ms) {
    switch (trouble) {
      case "frozen":
        return now_ms - this.#lastPicture_ms > FROZEN_AFTER_MS;
      case "overloaded":
      case "reduced":
        return this.#load === trouble;
      case "lossy":
        return this.#lostShare() > LOSSY_SHARE;
      case "slow":
        return this.#roundTrip_ms > SLOW_MS;
    }
  }

  /** @returns {number} 0 to 1, of the last seconds */
  #lostShare() {
    const [first, last] = [this.#traffic[0], this.#traffic.at(-1)];
    if (!first || !last) return 0;
    const lost = Math.max(0, last.lost - first.lost);
    const all = lost + Math.max(0, last.received - first.received);
    return all < FEWEST_PACKETS ? 0 : lost / all;
  }
}

/**
 * Reads the traffic of both directions from the browser's statistics: what came, and what the server
 * reports of the microphone's packets.
 *
 * @param {Iterable<any>} report the values of an RTCStatsReport
 * @returns {Traffic}
 */
export function trafficOf(report) {
  const traffic = { lost: 0, received: 0, roundTrip_ms: 0 };
  let sent = 0;
  let lostThere = 0;
  for (const entry of report) {
    if (entry.type === "inbound-rtp") {
      traffic.lost += Math.max(0, entry.packetsLost ?? 0);
      traffic.received += entry.packetsReceived ?? 0;
    }
    if (entry.type === "outbound-rtp") sent += entry.packetsSent ?? 0;
    if (entry.type === "remote-inbound-rtp") lostThere += Math.max(0, entry.packetsLost ?? 0);
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime >= 0) {
      traffic.roundTrip_ms = entry.currentRoundTripTime * 1000;
    }
  }
  traffic.lost += lostThere;
  traffic.received += Math.max(0, sent - lostThere);
  return traffic;
}
