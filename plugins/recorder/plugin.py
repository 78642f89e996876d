"""The recorder in the server: started and stopped over HTTP and from the page."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from starlette.routing import BaseRoute

from daetalker.plugins.recorder.archive import Archive
from daetalker.plugins.recorder.mp4 import missing_codecs
from daetalker.plugins.recorder.recording import Limits
from daetalker.plugins.recorder.routes import routes_of
from daetalker.streamer.credentials import Credentials, CredentialsError, find_credentials
from daetalker.streamer.finding import Finding
from daetalker.streamer.plugin import Plugin, PluginError, PluginSettings

__all__ = ["RecorderPlugin", "RecorderSettings"]

LITTLE_ROOM_MB = 500.0


class RecorderSettings(PluginSettings):
    """``[plugin.recorder]``, or ``DAETALKER_RECORDER_FOLDER`` and so on."""

    folder: Path = Field(
        default=Path("recordings"), description="where the files go; made if needed"
    )
    max_minutes: float = Field(
        default=60.0, gt=0, le=1440, description="longest recording, in minutes"
    )
    max_mb: float = Field(default=2000.0, gt=0, description="largest file, in millions of bytes")
    crf: int = Field(default=20, ge=0, le=51, description="H.264 quality, 0 best to 51 worst")
    keep: int = Field(
        default=0,
        ge=0,
        description="files kept: a new recording deletes the oldest beyond; 0 keeps all",
    )
    plain: bool = Field(
        default=True,
        description="turn a finished file into an ordinary MP4, which more editors read; "
        "false leaves it in fragments, as it was recorded",
    )

    c2pa: Literal["auto", "off"] = Field(
        default="auto",
        description="auto signs content credentials into finished files if the extra 'c2pa' is "
        "installed",
    )
    c2pa_cert: Path | None = Field(
        default=None,
        description="PEM certificate to sign with; left out: one made on this computer",
    )
    c2pa_key: Path | None = Field(default=None, description="PEM private key of that certificate")

    def credentials(self) -> Credentials | None:
        """What signs, if anything does.

        Raises:
            CredentialsError: if the certificate cannot be used.
        """
        return find_credentials(self.c2pa_cert, self.c2pa_key) if self.c2pa == "auto" else None

    @property
    def limits(self) -> Limits:
        """What ends a recording, and how it is written."""
        return Limits(self.max_minutes, self.max_mb, self.crf, self.plain)


class RecorderPlugin(Plugin):
    """Records sessions; see `routes` for what it answers to, and docs/recorder.md."""

    name: ClassVar[str] = "recorder"
    Settings: ClassVar[type[PluginSettings]] = RecorderSettings
    settings: RecorderSettings

    async def start(self) -> None:
        """Make the folder.

        Raises:
            PluginError: if it cannot be written to, or FFmpeg lacks an encoder.
        """
        for finding in await asyncio.to_thread(lambda: list(self.examine(self.settings))):
            if finding.status == "error":
                raise PluginError(f"{finding.message}; {finding.fix}")
        self._archive = Archive(
            self.settings.folder,
            self.settings.limits,
            self.settings.keep,
            self.host.log,
            await asyncio.to_thread(self.settings.credentials),
        )

    async def run(self) -> None:
        """Keep the recordings' tasks."""
        await self._archive.run()

    def routes(self) -> Sequence[BaseRoute]:
        """See `routes.py`."""
        return routes_of(self.host, self._archive)

    def page_script(self) -> Traversable:
        """The button on the page."""
        return files(__package__) / "page.js"

    @classmethod
    def examine(cls, settings: RecorderSettings) -> Iterable[Finding]:
        """Are the encoders there, can the folder be written to, is there room, who signs?"""
        yield _signing(settings)
        missing = missing_codecs()
        if missing:
            yield Finding(
                "recorder: encoders",
                "error",
                f"PyAV was built without {' and '.join(missing)}",
                "install PyAV from its wheels: pip install --force-reinstall --no-cache-dir av",
            )
        else:
            yield Finding("recorder: encoders", "ok", "H.264 and AAC")
        folder = settings.folder.absolute()
        problem = _folder_problem(folder)
        if problem:
            fix = "set DAETALKER_RECORDER_FOLDER to one that can"
            yield Finding("recorder: folder", "error", problem, fix)
            return
        free_mb = shutil.disk_usage(_existing(folder)).free / 1e6
        room = f"{folder}, {free_mb / 1000:.1f} GB free"
        if free_mb < LITTLE_ROOM_MB:
            yield Finding("recorder: folder", "warning", room, "free some space on that disk")
        else:
            yield Finding("recorder: folder", "ok", room)


def _signing(settings: RecorderSettings) -> Finding:
    name = "recorder: content credentials"
    try:
        credentials = settings.credentials()
    except CredentialsError as error:
        fix = "set DAETALKER_RECORDER_C2PA_CERT and _C2PA_KEY, or DAETALKER_RECORDER_C2PA=off"
        return Finding(name, "error", str(error), fix)
    if credentials is None:
        why = "off" if settings.c2pa == "off" else 'none; for some: pip install "daetalker[c2pa]"'
        return Finding(name, "ok", why)
    if credentials.generated:
        return Finding(name, "ok", "signed by this computer alone, which checkers call untrusted")
    return Finding(name, "ok", f"signed by {credentials.holder}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _folder_problem(folder: Path) -> str:
    """Why recordings cannot go there; empty if they can."""
    there = _existing(folder)
    if not there.is_dir():
        return f"recordings cannot go to {folder}: {there} is a file"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"recordings cannot go to {folder}: {there} may not be written to"
    return ""
