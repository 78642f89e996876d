// @ts-check
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Plugins } from "../../web_client/plugins.js";
import { settle } from "./fakes.js";

const STATE = /** @type {any} */ ({ type: "state", speaking: true });

beforeEach(() => {
  /** @type {any} */ (globalThis).document = { createElement: () => ({ dataset: {} }) };
});

/** @param {Record<string, any>} modules by address */
function begin(modules) {
  /** @type {any[]} */ const said = [];
  /** @type {any[]} */ const posted = [];
  /** @type {any[]} */ const cards = [];
  /** @type {string[]} */ const loaded = [];
  const plugins = new Plugins({
    column: /** @type {any} */ ({ append: (/** @type {any} */ card) => cards.push(card) }),
    base: "https://example.test/talk/",
    say: (command) => said.push(command),
    message: (text) => said.push(text),
    load: async (address) => {
      loaded.push(address);
      if (!(address in modules)) throw new TypeError(`no module ${address}`);
      return modules[address];
    },
    fetch: async (address, init) => {
      posted.push([String(address), init]);
      return new Response("{}");
    },
  });
  return { plugins, said, posted, cards, loaded };
}

/** @param {string} name */
const info = (name) => ({ name, script: `/plugins/${name}/page.js` });
/** @param {string} name */
const at = (name) => `https://example.test/talk/plugins/${name}/page.js`;

test("a script is imported once and mounted with a page that cannot be changed", async () => {
  /** @type {any[]} */ const pages = [];
  const { plugins, cards, loaded } = begin({
    [at("a")]: { mount: (/** @type {any} */ page) => pages.push(page) },
  });
  plugins.take([info("a"), { name: "b", script: null }]);
  plugins.take([info("a")]);
  await settle();
  assert.deepEqual(loaded, [at("a")]);
  assert.equal(pages.length, 1);
  assert.ok(Object.isFrozen(pages[0]));
  assert.equal(pages[0].element, cards[0]);
  assert.equal(cards[0].dataset.plugin, "a");
  assert.equal(cards[0].className, "card plugin");
});

test("a plugin hears of sessions and states", async () => {
  /** @type {any[]} */ const heard = [];
  /** @type {any} */ let seen;
  const { plugins } = begin({
    [at("a")]: {
      mount(/** @type {any} */ page) {
        seen = page;
        page.onSession((/** @type {any} */ session) => heard.push(session));
        page.onState((/** @type {any} */ state) => heard.push(state.speaking));
      },
    },
  });
  plugins.setSession("s1");
  plugins.take([info("a")]);
  await settle();
  plugins.setState(STATE);
  plugins.setSession("s1");
  plugins.setSession(null);
  assert.deepEqual(heard, ["s1", true, null]);
  assert.equal(seen.session, null);
});

test("a plugin may give commands and post to its own address, and nothing else", async () => {
  /** @type {any} */ let page;
  const { plugins, said, posted } = begin({
    [at("a")]: { mount: (/** @type {any} */ given) => (page = given) },
  });
  plugins.take([info("a")]);
  await settle();
  page.say({ type: "interrupt" });
  page.message("Recording.");
  assert.deepEqual(said, [{ type: "interrupt" }, "Recording."]);
  for (const type of ["hello", "offer", "save_preset", "bye"]) {
    assert.throws(() => page.say({ type }), /not a command/);
  }
  await page.post("/start", { session: "s1" });
  const [address, { method, headers, body }] = posted[0];
  assert.equal(address, "https://example.test/talk/plugins/a/start");
  assert.equal(method, "POST");
  assert.deepEqual(headers, { "Content-Type": "application/json" });
  assert.deepEqual(JSON.parse(body), { session: "s1" });
});

test("a script that fails shows nothing, is warned of, and the others work on", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  /** @type {any[]} */ const heard = [];
  const { plugins, cards } = begin({
    [at("throws")]: {
      mount() {
        throw new Error("Ow.");
      },
    },
    [at("later")]: {
      mount: (/** @type {any} */ page) =>
        page.onState(() => {
          throw new Error("Ow, later.");
        }),
    },
    [at("good")]: {
      mount: (/** @type {any} */ page) => page.onState(() => heard.push("state")),
    },
  });
  plugins.take([info("missing"), info("throws"), info("later"), info("good")]);
  await settle();
  plugins.setState(STATE);
  assert.deepEqual(heard, ["state"]);
  assert.equal(warn.mock.callCount(), 3);
  assert.deepEqual(
    cards.map(({ dataset }) => [dataset.plugin, dataset.failed]),
    [
      ["missing", "true"],
      ["throws", "true"],
      ["later", undefined],
      ["good", undefined],
    ],
  );
});

test("a plugin that the server has removed takes its card with it", async () => {
  const { plugins, cards } = begin({ [at("a")]: { mount() {} } });
  plugins.take([info("a")]);
  await settle();
  plugins.take([]);
  assert.equal(cards[0].dataset.gone, "true");
  plugins.take([info("a")]);
  assert.equal(cards[0].dataset.gone, "false");
});
