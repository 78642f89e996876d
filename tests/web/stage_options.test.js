// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { readOptions } from "../../web_client/stage_options.js";

const COLOURS = new Set(["transparent", "#00ff00", "#0f0", "green", "#11223344"]);
/** @param {string} search @param {string} [hash] */
const read = (search, hash = "") => readOptions(search, hash, (colour) => COLOURS.has(colour));

test("a stage without options shows the newest session on nothing, with its voice", () => {
  assert.deepEqual(read(""), {
    session: "latest",
    background: "transparent",
    fit: "contain",
    voice: true,
    placeholder: false,
  });
});

test("every option can be set", () => {
  const search = "?session=k3&background=green&fit=cover&voice=off&placeholder=on";
  assert.deepEqual(read(search), {
    session: "k3",
    background: "green",
    fit: "cover",
    voice: false,
    placeholder: true,
  });
});

test("a colour may be written as people write it into an address", () => {
  assert.equal(read("?background=%2300ff00").background, "#00ff00");
  assert.equal(read("?background=00ff00").background, "#00ff00");
  assert.equal(read("?background=0f0").background, "#0f0");
  // The browser takes all that follows # for the name of a place in the page.
  const typed = read("?background=", "#00ff00&fit=cover");
  assert.equal(typed.background, "#00ff00");
  assert.equal(typed.fit, "cover");
});

test("what makes no sense is as if it were not there", () => {
  const { background, fit, voice, session } = read(
    "?background=url(x)&fit=stretch&voice=loud&session=",
  );
  assert.deepEqual([background, fit, voice, session], ["transparent", "contain", true, "latest"]);
});
