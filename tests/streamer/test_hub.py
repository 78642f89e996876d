"""The hub offers what has been imported, and nothing under a name that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from daetalker.models.bundle import rewrite_manifest
from daetalker.streamer.hub import Hub
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.settings import load_settings
from tests.tiny import make_tiny_bundle


async def test_imported_avatars_are_offered_and_bad_ones_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DAETALKER_AVATARS", str(tmp_path / "avatars"))
    named = {"tiny": "tiny", "guest": "guest", "impostor": "mira", "broken": "broken"}
    for folder, name in named.items():
        rewrite_manifest(make_tiny_bundle(tmp_path / "avatars" / folder), name=name)
    (tmp_path / "avatars/broken/speech.onnx").write_bytes(b"junk")
    hub = Hub(load_settings({"avatar": "guest", "threads": 1}))
    try:
        started = await hub.start()
        assert started.bundle.path == tmp_path / "avatars/guest"
        assert hub.avatar_names == ["guest", "mira", "tiny"]
        assert (await hub.avatar("tiny")).bundle.path == tmp_path / "avatars/tiny"
        with pytest.raises(ProtocolError):
            await hub.avatar("broken")
        mira = next(m for m in hub.manifests() if m.name == "mira")
        assert mira.label == "Mira"
    finally:
        await hub.stop()
    assert "avatar impostor is left out" in caplog.text
    assert "avatar broken is left out" in caplog.text


async def test_a_preset_beyond_this_avatars_range_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "presets.toml"
    file.write_text("[presets.owl]\nyaw = 85\n[presets.mild]\nyaw = 2\n")
    avatar = make_tiny_bundle(tmp_path / "tiny")
    hub = Hub(load_settings({"avatar": str(avatar), "presets": str(file), "threads": 1}))
    manifest = (await hub.start()).bundle.manifest
    try:
        names = [preset.name for preset in hub.presets.for_avatar(manifest)]
        assert "mild" in names and "owl" not in names
        assert "preset 'owl'" in caplog.text and "left out" in caplog.text
    finally:
        await hub.stop()
