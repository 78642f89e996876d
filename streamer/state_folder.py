"""The server's own folder: its secret, its certificate, the links that were used."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from daetalker.streamer.settings import Settings, SettingsError

__all__ = ["read_private", "state_folder", "state_path", "write_private"]


def state_path(settings: Settings) -> Path:
    """The folder of the settings or else the user's, which need not be there yet."""
    if settings.state_folder is not None:
        return settings.state_folder
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "daetalker"


def state_folder(settings: Settings) -> Path:
    """The folder of the settings or else the user's, made if it is not there, for the user only.

    Raises:
        SettingsError: if it cannot be made.
    """
    folder = state_path(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"cannot make the folder {folder} ({error.strerror}); set --state-folder to one that "
            "can be written"
        ) from None
    return folder


def read_private(path: Path) -> bytes | None:
    """What a private file holds; None if there is none.

    Raises:
        SettingsError: if it cannot be read, or if others can read it too.
    """
    try:
        mode = path.stat().st_mode
        found = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path} ({error.strerror})") from None
    if mode & 0o077:
        raise SettingsError(
            f"other users of this machine can read {path}: delete it, so that a new one is made"
        )
    return found


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file that only the user can read; whoever reads it sees all of it or the old one.

    Without ``replace`` a file that is there stays.

    Raises:
        SettingsError: if it cannot be written.
    """
    try:
        # Made with mode 0600; in the same folder, so that it can take the old one's place.
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            if replace:
                os.replace(temporary, path)
            else:
                with suppress(FileExistsError):
                    os.link(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path} ({error.strerror}); set --state-folder to a folder that can be "
            "written"
        ) from None
