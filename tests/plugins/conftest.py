from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny avatar."""
    return make_tiny_bundle(tmp_path_factory.mktemp("avatars") / "tiny")
