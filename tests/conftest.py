"""What every test stands on: the developer's own avatars and presets are not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_developers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAETALKER_AVATARS", str(tmp_path_factory.mktemp("no-avatars")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("no-presets")))
        yield
