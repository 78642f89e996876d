"""Plugins of the mock server: one whose script works, one whose script fails, one without any."""

from __future__ import annotations

from typing import Any

PLUGINS: list[dict[str, Any]] = [
    {"name": "hello", "script": "/plugins/hello/page.js"},
    {"name": "broken", "script": "/plugins/broken/page.js"},
    {"name": "silent", "script": None},
]
PLUGIN_SCRIPTS = {
    "hello": """
export function mount(page) {
  const title = document.createElement("h2");
  title.textContent = "Hello";
  const line = document.createElement("p");
  line.className = "hint";
  const button = document.createElement("button");
  button.className = "secondary";
  button.textContent = "Say hello";
  button.addEventListener("click", async () => {
    const answer = await page.post("greet", { session: page.session });
    page.message((await answer.json()).text);
    page.say({ type: "preset", name: "up" });
  });
  page.onSession((session) => {
    line.textContent = session ? "In session " + session : "No session";
  });
  page.element.append(title, line, button);
}
""",
    "broken": "export function mount(page) { page.element.append('x'); throw new Error('Ow.'); }",
}
