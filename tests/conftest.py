"""What every test stands on: the avatars that the developer has imported are not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_imported_avatars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAETALKER_AVATARS", str(tmp_path_factory.mktemp("no-avatars")))
        yield
