"""A person's own pose presets, in a TOML file, over the ones an avatar comes with."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from daetalker.models.bundle import Manifest, Preset
from daetalker.streamer.preset_file import (
    Entry,
    PresetError,
    parse,
    pose_problem,
    with_preset,
    with_values,
    without,
)

__all__ = ["PresetBook", "PresetError", "default_presets_path", "watch"]

MAX_FILE_BYTES = 1024 * 1024
_ATTEMPTS = 5
_SETTLE_S = 0.05
_FIRST_LINES = "# Pose presets of daetalker; docs/presets.md says what can stand here.\n"

_T = TypeVar("_T")
Signature = tuple[int, ...] | None


def default_presets_path() -> Path:
    """The user's file: ``$XDG_CONFIG_HOME/daetalker/presets.toml``, else below ``~/.config``."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "daetalker/presets.toml"


class PresetBook:
    """The presets of every avatar: its own, and over them those of one file of the user's.

    All methods return quickly and may be called from any thread; they read and write a small
    file, so an event loop should still hand `save`, `delete` and `reload` to a thread.
    """

    def __init__(self, path: Path) -> None:
        """Read ``path``; no file is as good as an empty one.

        Raises:
            PresetError: if the file is there and wrong.
        """
        self.path = path
        self._lock = threading.Lock()
        self._refused: bytes | None = None
        self._entries = self._parse(self._read())

    def for_avatar(self, manifest: Manifest) -> tuple[Preset, ...]:
        """The avatar's own in their order, overridden or hidden by the file's; then the others.

        A preset of the file that this avatar cannot show is left out; `check` says which.
        """
        return tuple(self._visible(manifest).values())

    def find(self, manifest: Manifest, name: str) -> Preset:
        """The preset of that name.

        Raises:
            PresetError: naming the presets there are.
        """
        presets = self._visible(manifest)
        if name not in presets:
            raise _unknown(manifest, name, presets)
        return presets[name]

    def is_own(self, name: str, manifest: Manifest | None = None) -> bool:
        """True if the preset is the user's: of any avatar, or as this avatar shows it."""
        entry = self._entries.get(name)
        if entry is None or manifest is None:
            return entry is not None and entry.preset is not None
        return _shown(entry, manifest) is not None

    def check(self, manifest: Manifest) -> None:
        """See that this avatar can show every preset of the file that is meant for it.

        Raises:
            PresetError: naming file, preset, field, the allowed range and what to do.
        """
        for name, entry in self._entries.items():
            if entry.preset is not None and entry.is_for(manifest):
                problem = pose_problem(entry.preset, manifest)
                if problem:
                    raise PresetError(
                        f"{self.path}: preset '{name}': {problem}; change it, or give it "
                        'avatar = "NAME" if it is for another one'
                    )

    def save(self, manifest: Manifest, preset: Preset) -> None:
        """Write a preset into the file, a new one or in place of the one of that name.

        Raises:
            PresetError: if a field is out of limits, the avatar cannot show it, the name belongs
                to another avatar's preset, or the file cannot be changed.
        """
        problem = pose_problem(preset, manifest)
        if problem:
            raise PresetError(f"preset '{preset.name}': {problem}; choose a smaller angle")

        def change(text: str, entries: dict[str, Entry]) -> str:
            self._require_free(manifest, preset.name, entries)
            return self._located(with_preset, text, preset)

        self._change(change)

    def delete(self, manifest: Manifest, name: str) -> None:
        """Take a preset away.

        One of the file's goes, and what it stood over comes back; one that the avatar came with
        is hidden.

        Raises:
            PresetError: naming the presets there are, or if the file cannot be changed.
        """

        def change(text: str, entries: dict[str, Entry]) -> str:
            if name not in (visible := _merge(manifest, entries)):
                raise _unknown(manifest, name, visible)
            if name in entries and _shown(entries[name], manifest) is not None:
                return self._located(without, text, name)
            self._require_free(manifest, name, entries)
            return self._located(with_values, text, name, {"hidden": True})

        self._change(change)

    def reload(self) -> bool:
        """Read the file again; True if what it says has changed.

        Raises:
            PresetError: if it is wrong now, once for each wrong content; what it said before
                stays in force.
        """
        with self._lock:
            data = self._read()
            if data == self._refused:
                return False
            try:
                entries = self._parse(data)
            except PresetError:
                self._refused = data
                raise
            self._refused = None
            changed = list(entries.items()) != list(self._entries.items())
            self._entries = entries
            return changed

    def signature(self) -> Signature:
        """What changes when the file does; None if there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _visible(self, manifest: Manifest) -> dict[str, Preset]:
        return _merge(manifest, self._entries)

    def _require_free(self, manifest: Manifest, name: str, entries: dict[str, Entry]) -> None:
        entry = entries.get(name)
        if entry is not None and not entry.is_for(manifest):
            raise PresetError(
                f"{self.path} has a preset '{name}' for avatar '{entry.avatar}'; rename that one "
                "or choose another name"
            )

    def _change(self, change: Callable[[str, dict[str, Entry]], str]) -> None:
        with self._lock:
            # What a person has written since we last read must not be lost, not even when it is
            # written while we are at it.
            for _ in range(_ATTEMPTS):
                data = self._read()
                text = change(_decode(data) or _FIRST_LINES, self._parse(data))
                if self._read() == data:
                    break
            else:
                raise PresetError(f"{self.path} is being written by someone else; try again")
            self._write(text.encode("utf-8"))
            self._entries = parse(text)
            self._refused = None

    def _read(self) -> bytes:
        """The file's bytes, none if there is no file."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise PresetError(f"{self.path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise PresetError(f"{self.path} is larger than a file of presets may be (1 MB)")
        return data

    def _parse(self, data: bytes) -> dict[str, Entry]:
        try:
            return self._located(parse, _decode(data))
        except UnicodeDecodeError:
            raise PresetError(f"{self.path} is not UTF-8 text; save it as such") from None

    def _located(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Do some work on the text; a complaint about it names the file."""
        try:
            return work(*arguments)
        except PresetError as error:
            raise PresetError(f"{self.path}: {error}") from None

    def _write(self, data: bytes) -> None:
        """Replace the file in one step, so that nobody ever reads half of it."""
        try:
            target = self.path.resolve()  # a link to the file stays a link
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".presets-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                if target.exists():
                    shutil.copymode(target, name)
                os.replace(name, target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise PresetError(f"{self.path} cannot be written: {error.strerror}") from None


async def watch(
    book: PresetBook,
    on_change: Callable[[], None],
    on_error: Callable[[PresetError], None],
    interval_s: float = 0.5,
) -> None:
    """Follow the file until cancelled; both callbacks run in this event loop.

    Args:
        on_change: the file was changed by someone else and what it says now is in force.
        on_error: it was changed and is wrong, told once; what it said before stays in force.
        interval_s: seconds between two looks.
    """
    seen: Signature = ()  # it may have changed since the book read it
    while True:
        now = await asyncio.to_thread(book.signature)
        if now == seen:
            await asyncio.sleep(interval_s)
            continue
        # Editors write in several steps; half a file is nobody's mistake.
        while now != seen:
            seen = now
            await asyncio.sleep(_SETTLE_S)
            now = await asyncio.to_thread(book.signature)
        try:
            if await asyncio.to_thread(book.reload):
                on_change()
        except PresetError as error:
            on_error(error)


def _merge(manifest: Manifest, entries: dict[str, Entry]) -> dict[str, Preset]:
    presets = {preset.name: preset for preset in manifest.presets}
    for name, entry in entries.items():
        if not entry.is_for(manifest):
            continue
        if entry.preset is None:
            presets.pop(name, None)
        elif pose_problem(entry.preset, manifest) is None:
            presets[name] = entry.preset
    return presets


def _shown(entry: Entry, manifest: Manifest) -> Preset | None:
    """What this avatar shows of an entry."""
    if entry.preset is None or not entry.is_for(manifest):
        return None
    return None if pose_problem(entry.preset, manifest) else entry.preset


def _decode(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _unknown(manifest: Manifest, name: str, presets: Iterable[str]) -> PresetError:
    names = ", ".join(presets) or "none"
    return PresetError(f"unknown preset '{name}'; avatar '{manifest.name}' has: {names}")
