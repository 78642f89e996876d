// @ts-check
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { countdownText, noticeFor } from "../../web_client/messages.js";

const folder = new URL("../../web_client/", import.meta.url);
/** @param {string} name */
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const scripts = readdirSync(folder).filter((name) => name.endsWith(".js"));
const html = read("index.html");

test("the page has nothing inline, as its content security policy demands", () => {
  assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|javascript:/i);
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/i);
  for (const name of scripts) {
    assert.doesNotMatch(read(name), /innerHTML|outerHTML|insertAdjacentHTML|\beval\(/, name);
  }
});

test("the page loads nothing from elsewhere", () => {
  for (const name of [...scripts, "index.html", "style.css"]) {
    const text = read(name).replaceAll("https:// pages", "").replaceAll("http://localhost", "");
    assert.doesNotMatch(text, /(https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}/i, name);
  }
});

test("every element that main.js asks for is in index.html, and ids are unique", () => {
  const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length);
  for (const [, id] of read("main.js").matchAll(/find\("([^"]+)"/g)) {
    assert.ok(ids.includes(id), `#${id}`);
  }
});

test("labels and descriptions point at something", () => {
  const ids = new Set([...html.matchAll(/\sid="([^"]+)"/g)].map((match) => match[1]));
  for (const [, target] of html.matchAll(/(?:for|aria-labelledby|aria-describedby)="([^"]+)"/g)) {
    assert.ok(ids.has(target), `#${target}`);
  }
});

test("every failure the scripts can name has words of its own", () => {
  const unknown = noticeFor("no such code").title;
  const source = scripts.map(read).join("\n");
  const named = [...source.matchAll(/(?:#lose|#end|fail|MicrophoneError)\(\s*"([a-z_]+)"/g)];
  assert.ok(named.length >= 5);
  const codes = [
    ...named.map((match) => String(match[1])),
    ...["no_webrtc", "insecure_origin", "microphone_denied", "microphone_missing"],
    ...["microphone_busy", "server_full", "engine_failed", "unknown_avatar", "no_audio"],
    ...["unsupported_protocol", "unreachable", "connection_lost", "media_blocked"],
  ].filter((code) => code !== "bad_sdp");
  for (const code of codes) {
    const { title, text, action } = noticeFor(code);
    assert.notEqual(title, unknown, code);
    assert.ok(title.length < 50 && text.endsWith(".") && action.length < 16, code);
  }
});

test("the countdown speaks English", () => {
  assert.equal(countdownText(3), "Trying again in 3 seconds.");
  assert.equal(countdownText(1), "Trying again in 1 second.");
  assert.equal(countdownText(0), "Trying again now…");
});
