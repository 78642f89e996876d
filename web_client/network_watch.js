// @ts-check
/**
 * The signs that a connection may be dead although nobody has said so, or may work again: the network
 * comes and goes or is another one, the page is looked at again, the computer has slept.
 *
 * None of them proves anything. They are handed on as a reason to look.
 */

/** How often the clock is looked at; pages in the background may do so once a minute only. */
const TICK_MS = 1_000;
/** A clock that has gone on by so much more than the ticks were apart: nothing ran meanwhile. */
const JUMP_MS = 5_000;

/**
 * What is listened to, so that tests can bring their own.
 * @typedef {object} Surroundings
 * @property {EventTarget} window
 * @property {EventTarget & {readonly visibilityState: string}} document
 * @property {(EventTarget & {readonly type?: string}) | undefined} connection the browser's
 *   NetworkInformation, where it has one
 * @property {() => number} wallClock_ms goes on while the computer sleeps, unlike `performance.now()`
 * @property {(call: () => void, every_ms: number) => unknown} every
 */

/** @returns {Surroundings} */
export function browserSurroundings() {
  const { connection } = /** @type {{connection?: EventTarget & {readonly type?: string}}} */ (
    navigator
  );
  return {
    window,
    document,
    connection,
    wallClock_ms: () => Date.now(),
    every: (call, every_ms) => setInterval(call, every_ms),
  };
}

/**
 * Calls `onSign` at each of the signs, for as long as the page is open.
 *
 * @param {(sign: "network" | "seen" | "slept") => void} onSign
 * @param {Surroundings} [surroundings]
 */
export function watchNetwork(onSign, surroundings = browserSurroundings()) {
  const { window, document, connection, wallClock_ms, every } = surroundings;
  window.addEventListener("online", () => onSign("network"));
  window.addEventListener("offline", () => onSign("network"));
  // It also tells of every new guess at the speed, which is no sign of anything.
  let type = connection?.type;
  connection?.addEventListener("change", () => {
    if (connection.type === type) return;
    type = connection.type;
    onSign("network");
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") onSign("seen");
  });
  let last_ms = wallClock_ms();
  every(() => {
    const now_ms = wallClock_ms();
    const passed_ms = now_ms - last_ms;
    last_ms = now_ms;
    if (passed_ms > TICK_MS + JUMP_MS) onSign("slept");
  }, TICK_MS);
}
