// @ts-check
/**
 * The recorder's card: a button, a red dot while anybody records this session, links to the files.
 *
 * The server is asked every second or two, not only after the button: an operator may record the
 * session too, and whoever is recorded must see it.
 *
 * @typedef {import("../../web_client/plugins.js").PluginPage} PluginPage
 *
 * @typedef {object} Entry a recording, as the server reports it
 * @property {string} id
 * @property {string} session
 * @property {string} file
 * @property {"recording" | "finishing" | "done" | "failed"} state
 * @property {number} seconds
 * @property {number} bytes
 * @property {string} reason
 */

const WATCH_MS = 2000;
const RECORDING_MS = 1000;

/** @param {PluginPage} page */
export function mount(page) {
  const title = element("h2", "Recording");
  const button = element("button", "Record");
  button.className = "secondary";
  button.type = "button";
  const status = element("p", "");
  status.className = "hint";
  status.setAttribute("role", "status");
  const links = element("ul", "");
  links.className = "hint";

  /** @type {string | null} whose recordings are shown: the last session, also after its end */
  let watched = null;
  /** @type {Entry | undefined} */
  let running;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  page.onSession((session) => {
    if (session !== null && session !== watched) {
      watched = session;
      running = undefined;
      links.replaceChildren();
      status.replaceChildren();
      page.element.replaceChildren(title, button, status, links);
    }
    button.disabled = session === null;
    void look();
  });

  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const answer = running
        ? await page.post(`recordings/${running.id}/stop?${query(running.session)}`)
        : await page.post("recordings", { session: page.session });
      if (!answer.ok) page.message((await answer.json()).message);
    } catch {
      page.message("The recorder does not answer.");
    }
    button.disabled = page.session === null;
    await look();
  });

  async function look() {
    clearTimeout(timer);
    const session = watched;
    if (session === null) return;
    try {
      const answer = await fetch(address(`recordings?${query(session)}`));
      if (answer.ok && session === watched) show(await answer.json());
    } catch {
      // The server is restarting or gone; the page itself says so.
    }
    clearTimeout(timer); // another look may have begun meanwhile
    if (page.session !== null || running)
      timer = setTimeout(look, running ? RECORDING_MS : WATCH_MS);
  }

  /** @param {Entry[]} entries the oldest first */
  function show(entries) {
    running = entries.find(({ state }) => state === "recording" || state === "finishing");
    button.textContent = running ? "Stop" : "Record";
    page.element.dataset["recording"] = String(Boolean(running));
    document.title = (running ? "🔴 " : "") + document.title.replace(/^🔴 /u, ""); // seen from any tab
    const failed = entries.filter(({ state }) => state === "failed").at(-1);
    if (running) {
      status.replaceChildren(dot(), ` Recording, ${clock(running.seconds)}`);
    } else {
      status.replaceChildren(failed ? `The last recording failed: ${failed.reason}.` : "");
    }
    links.replaceChildren(...entries.filter(finished).map(link));
  }
}

/** @param {Entry} entry */
function finished({ state, bytes }) {
  return (state === "done" || state === "failed") && bytes > 0;
}

/** @param {Entry} entry */
function link({ id, session, file, seconds, bytes }) {
  const anchor = element("a", `${clock(seconds)}, ${(bytes / 1e6).toFixed(1)} MB`);
  anchor.href = address(`recordings/${id}/file?${query(session)}`);
  anchor.download = file;
  const item = element("li", "");
  item.append(anchor);
  return item;
}

/** A red dot, drawn: the page's security policy forbids inline styles. */
function dot() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [name, value] of [
    ["width", "12"],
    ["height", "12"],
    ["viewBox", "0 0 12 12"],
    ["aria-hidden", "true"],
  ]) {
    svg.setAttribute(/** @type {string} */ (name), /** @type {string} */ (value));
  }
  for (const [name, value] of [
    ["cx", "6"],
    ["cy", "6"],
    ["r", "5"],
    ["fill", "#d92d20"],
  ]) {
    circle.setAttribute(/** @type {string} */ (name), /** @type {string} */ (value));
  }
  svg.append(circle);
  return svg;
}

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {string} session */
function query(session) {
  return new URLSearchParams({ session }).toString();
}

/** @param {string} path */
function address(path) {
  return new URL(path, import.meta.url).href;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} text
 */
function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
