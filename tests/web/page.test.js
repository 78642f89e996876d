// @ts-check
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { countdownText, noticeFor, PRESET_WORDS } from "../../web_client/messages.js";

const folder = new URL("../../web_client/", import.meta.url);
/** @param {string} name */
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const scripts = readdirSync(folder).filter((name) => name.endsWith(".js"));
/** Each page with the script that it loads. */
const PAGES = { "index.html": "main.js", "stage.html": "stage_page.js" };
/** Handed to those who may not load anything else. */
const PLAIN = "no_entry.html";

/** @param {string} html @returns {string[]} */
const idsOf = (html) => [...html.matchAll(/\sid="([^"]+)"/g)].map((match) => String(match[1]));

/** A script and all that it imports. @param {string} name @param {Set<string>} [seen] */
function withImports(name, seen = new Set()) {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const [, other] of read(name).matchAll(/from "\.\/([^"]+)"/g)) {
    withImports(String(other), seen);
  }
  return seen;
}

test("the pages have nothing inline, as their content security policy demands", () => {
  for (const page of [...Object.keys(PAGES), PLAIN]) {
    assert.doesNotMatch(read(page), /<style|\sstyle=|\son[a-z]+=|javascript:/i, page);
    assert.doesNotMatch(read(page), /<script(?![^>]*\ssrc=)/i, page);
  }
  for (const name of scripts) {
    assert.doesNotMatch(read(name), /innerHTML|outerHTML|insertAdjacentHTML|\beval\(/, name);
  }
});

test("the pages load nothing from elsewhere", () => {
  const styles = ["style.css", "controls.css", "stage.css", "no_entry.css"];
  for (const name of [...scripts, ...Object.keys(PAGES), PLAIN, ...styles]) {
    const text = read(name).replaceAll("https:// pages", "").replaceAll("http://localhost", "");
    assert.doesNotMatch(text, /(https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}/i, name);
  }
});

test("the page for those without a link needs two files beside it, and no script", () => {
  const html = read(PLAIN);
  assert.doesNotMatch(html, /<script/);
  const needed = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1]);
  assert.deepEqual(needed, ["favicon.svg", "no_entry.css"]);
});

test("every element that a page's scripts ask for is in it, and ids are unique", () => {
  for (const [page, script] of Object.entries(PAGES)) {
    const ids = idsOf(read(page));
    assert.equal(new Set(ids).size, ids.length);
    for (const name of withImports(script)) {
      for (const [, id] of read(name).matchAll(/find\(\s*"([^"]+)"/g)) {
        assert.ok(ids.includes(String(id)), `${page} #${id}`);
      }
      for (const [, id] of read(name).matchAll(/field\("([^"]+)"/g)) {
        assert.ok(ids.includes(String(id)) && ids.includes(`${id}-number`), `${page} #${id}`);
      }
    }
  }
});

test("labels and descriptions point at something", () => {
  for (const page of Object.keys(PAGES)) {
    const html = read(page);
    const ids = idsOf(html);
    for (const [, target] of html.matchAll(/(?:for|aria-labelledby|aria-describedby)="([^"]+)"/g)) {
      assert.ok(ids.includes(String(target)), `${page} #${target}`);
    }
  }
});

test("every script is loaded by a page", () => {
  const loaded = new Set(Object.values(PAGES).flatMap((script) => [...withImports(script)]));
  assert.deepEqual([...loaded].sort(), scripts.sort());
});

test("every failure the scripts can name has words of its own", () => {
  const unknown = noticeFor("no such code").title;
  const source = scripts.map(read).join("\n");
  const named = [
    ...source.matchAll(/(?:\bfail\(|MicrophoneError\(|\bcode: |\[\d{4}, )"([a-z_]+)"/g),
  ];
  assert.ok(named.length >= 7, String(named.length));
  const codes = [
    ...named.map((match) => String(match[1])),
    ...["no_webrtc", "insecure_origin", "microphone_denied", "microphone_missing"],
    ...["microphone_busy", "server_full", "engine_failed", "unknown_avatar", "no_audio"],
    "not_allowed",
    ...["unsupported_protocol", "unreachable", "connection_lost", "media_blocked", "offline"],
    ...["signed_out", "too_many", "session_over", "session_gone", "server_stopping", "goodbye"],
    "relay_silent",
  ];
  for (const code of codes) {
    const { title, text, action } = noticeFor(code);
    assert.notEqual(title, unknown, code);
    assert.ok(title.length < 50 && text.endsWith(".") && action.length < 16, code);
  }
});

test("a break of what worked is told calmly, and what the server knows better is left to it", () => {
  const calm = { again: true, retry_ms: 500 };
  for (const code of ["connection_lost", "unreachable", "server_stopping", "offline", "goodbye"]) {
    const { title, text } = noticeFor(code, calm);
    assert.equal(title, "Connection lost, coming back…");
    assert.ok(text.endsWith("."), code);
  }
  assert.equal(noticeFor("goodbye", { ...calm, message: "back at nine" }).text, "Back at nine.");
  assert.equal(noticeFor("session_over", { message: "Time is up." }).text, "Time is up.");
  assert.notEqual(noticeFor("unreachable", { message: "fetch failed" }).text, "fetch failed");
  assert.equal(noticeFor("media_blocked", calm).title, noticeFor("media_blocked").title);
  assert.equal(noticeFor("server_full", { again: true }).title, noticeFor("server_full").title);
});

test("the countdown speaks English", () => {
  assert.equal(countdownText(3), "Trying again in 3 seconds.");
  assert.equal(countdownText(1), "Trying again in 1 second.");
  assert.equal(countdownText(0), "Trying again now…");
});

test("what became of a preset is told in words", () => {
  const own = { label: "Nod", own: true };
  const bundled = { label: "Left", own: false };
  assert.equal(PRESET_WORDS.deleted(own, undefined), "“Nod” is deleted.");
  assert.equal(PRESET_WORDS.deleted(bundled, undefined), "“Left” is hidden.");
  assert.equal(PRESET_WORDS.deleted(own, bundled), "“Left” is the avatar's own again.");
});
