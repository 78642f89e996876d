// @ts-check
/**
 * Plugins' own parts of the page.
 *
 * A plugin of the server may bring one ES module, which this page imports once and calls:
 *
 *     export function mount(page) {
 *       const button = document.createElement("button");
 *       button.className = "secondary";
 *       button.textContent = "Record";
 *       button.addEventListener("click", () => page.post("start", { session: page.session }));
 *       page.element.append(button);
 *     }
 *
 * The page's content security policy holds for it: no inline styles, nothing from elsewhere.  The
 * classes of style.css and controls.css may be used (`secondary`, `chip`, `hint`, `slider-row`, `switch`), and an `h2`
 * as the card's title.
 */

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./protocol.js").PluginInfo} PluginInfo */
/** @typedef {import("./protocol.js").State} State */

/**
 * What `mount(page)` is given.  It is frozen; everything stays valid as long as the page is open.
 *
 * @typedef {object} PluginPage
 * @property {string | null} session id of the session that the page shows now; null between sessions
 * @property {HTMLElement} element a card in the side column, hidden as long as it is empty
 * @property {(command: ClientMessage) => void} say sends a command of docs/protocol.md (`pose`, `preset`,
 *   `natural`, `mute`, `interrupt`, `say`) to the session; nothing happens between sessions
 * @property {(path: string, body?: unknown) => Promise<Response>} post POST of JSON to
 *   /plugins/NAME/path
 * @property {(call: (session: string | null) => void) => void} onSession called at once, and whenever
 *   a session begins or ends
 * @property {(call: (state: State) => void) => void} onState called with each `state`, twice a second
 * @property {(text: string) => void} message shows one sentence below the picture; "" takes it away
 */

/**
 * @typedef {object} PluginsConfig
 * @property {HTMLElement} column where the cards go
 * @property {string} base the page's own address
 * @property {(command: ClientMessage) => void} say
 * @property {(text: string) => void} message
 * @property {(address: string) => Promise<any>} [load] imports a module
 * @property {typeof fetch} [fetch]
 */

const COMMANDS = new Set(["pose", "preset", "natural", "mute", "interrupt", "say"]);

export class Plugins {
  #config;
  /** @type {Map<string, HTMLElement>} the cards by the plugin's name; once made, they stay */
  #cards = new Map();
  /** @type {string | null} */
  #session = null;
  /** @type {((session: string | null) => void)[]} */
  #onSession = [];
  /** @type {((state: State) => void)[]} */
  #onState = [];

  /** @param {PluginsConfig} config */
  constructor(config) {
    this.#config = config;
  }

  /** Loads the scripts that are new, and hides what belongs to plugins that are gone. @param {PluginInfo[]} plugins */
  take(plugins) {
    const names = new Set(plugins.map(({ name }) => name));
    for (const [name, card] of this.#cards) card.dataset["gone"] = String(!names.has(name));
    for (const { name, script } of plugins) {
      if (script !== null && !this.#cards.has(name)) void this.#mount(name, script);
    }
  }

  /** @param {string | null} session */
  setSession(session) {
    if (session === this.#session) return;
    this.#session = session;
    for (const call of this.#onSession) guarded(call, session);
  }

  /** @param {State} state */
  setState(state) {
    for (const call of this.#onState) guarded(call, state);
  }

  /** @param {string} name @param {string} script */
  async #mount(name, script) {
    const element = document.createElement("section");
    element.className = "card plugin";
    element.dataset["plugin"] = name;
    this.#cards.set(name, element);
    this.#config.column.append(element);
    const load = this.#config.load ?? ((address) => import(address));
    try {
      const module = await load(new URL(script.replace(/^\/+/, ""), this.#config.base).href);
      await module.mount(this.#pageFor(name, element));
    } catch (error) {
      console.warn(`The page's part of the plugin ${name} failed.`, error);
      element.dataset["failed"] = "true";
    }
  }

  /** @param {string} name @param {HTMLElement} element @returns {PluginPage} */
  #pageFor(name, element) {
    const plugins = this;
    const { base, say, message } = this.#config;
    const send = this.#config.fetch ?? fetch;
    return Object.freeze({
      get session() {
        return plugins.#session;
      },
      element,
      say(/** @type {ClientMessage} */ command) {
        if (!COMMANDS.has(command.type)) throw new TypeError(`${command.type} is not a command.`);
        say(command);
      },
      post(/** @type {string} */ path, body = {}) {
        const address = new URL(`plugins/${name}/${path.replace(/^\/+/, "")}`, base);
        const headers = { "Content-Type": "application/json" };
        return send(address, { method: "POST", headers, body: JSON.stringify(body) });
      },
      onSession(/** @type {(session: string | null) => void} */ call) {
        plugins.#onSession.push(call);
        guarded(call, plugins.#session);
      },
      onState(/** @type {(state: State) => void} */ call) {
        plugins.#onState.push(call);
      },
      message(/** @type {string} */ text) {
        message(String(text));
      },
    });
  }
}

/** A plugin's mistake is the plugin's. @template T @param {(value: T) => void} call @param {T} value */
function guarded(call, value) {
  try {
    call(value);
  } catch (error) {
    console.warn("The page's part of a plugin failed.", error);
  }
}
