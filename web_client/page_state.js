// @ts-check
/** What the stage shows in each state of the page. */

import { noticeFor, WATCH_WORDS } from "./messages.js";

/** @typedef {"idle" | "asking" | import("./peer.js").PeerState} PageState */
/** @typedef {import("./peer.js").Detail} Detail */

/** What a network that is not there looks like from here. */
const NO_NETWORK = new Set(["unreachable", "connection_lost"]);

/**
 * @param {import("./stage.js").Stage} stage
 * @param {Record<keyof typeof import("./messages.js").WORDS, string>} words
 * @param {PageState} state
 * @param {Detail} detail of the state
 * @param {boolean} [offline] the browser knows of no network, and the server is not on this machine
 */
export function showState(stage, words, state, detail, offline = false) {
  const { code, retry_ms } = detail;
  switch (state) {
    case "idle":
      stage.setState(words.ready, "ready");
      stage.showIdle();
      break;
    case "asking":
      stage.setState(words.asking, "busy");
      stage.showBusy(words.askingHint);
      break;
    case "live":
      stage.setState(words.listening, "listening");
      stage.showLive();
      break;
    case "connecting":
    case "waiting":
      stage.freeze();
      stage.setState(code ? words.waiting : words.connecting, "busy");
      if (!code) stage.showBusy(words.connectingHint);
      else if (code === "unknown_session") stage.showBusy(WATCH_WORDS.noSession);
      else {
        const wait = { ...detail, retry_ms: retry_ms ?? 0 };
        const cause = offline && NO_NETWORK.has(code) ? "offline" : code;
        stage.showNotice(noticeFor(cause, wait), wait);
      }
      break;
    case "failed":
      stage.freeze();
      stage.setState(words.failed, "failed");
      stage.showNotice(noticeFor(code ?? "", detail), { canWait: code === "server_full" });
      break;
    case "closed":
      break;
  }
}
