"""A stage's log: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from daetalker.models.training.store import write_whole


class Log:
    """Rows with a ``step``, appended as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All whole rows; a kill in the middle of a line leaves half a last one."""
        found = []
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def forget_after(self, step: int) -> None:
        """Drop what an interrupted run wrote after its checkpoint."""
        if self.path.exists():
            kept = [json.dumps(row) + "\n" for row in self.rows() if 0 < step >= row["step"]]
            write_whole(self.path, "".join(kept).encode())
