from __future__ import annotations

from pathlib import Path

import pytest

from daetalker.models.bundle import AvatarBundle, load_bundle
from daetalker.streamer.engine import Engine
from tests.tiny import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> AvatarBundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("avatars") / "tiny"))


@pytest.fixture(scope="session")
def bundle(tiny_bundle: AvatarBundle) -> Path:
    """Folder of the tiny avatar, for servers that open it themselves."""
    return tiny_bundle.path


@pytest.fixture(scope="session")
def tiny_engine(tiny_bundle: AvatarBundle) -> Engine:
    return Engine(tiny_bundle, threads=1)
