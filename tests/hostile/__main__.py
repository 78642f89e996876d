"""``python -m tests.hostile --connections 2000``: besiege a server and say how it went."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

from daetalker.models.bundle import find_avatar
from tests.hostile.server import serving
from tests.hostile.siege import besiege
from tests.tiny import make_tiny_bundle


def main() -> int:
    """1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--avatar", help="instead of a tiny one made for tests")
    parser.add_argument("--log", type=Path, help="keep the server's log here")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # of our own end of the broken connections
    with tempfile.TemporaryDirectory() as folder:
        bundle = (
            find_avatar(options.avatar)
            if options.avatar
            else make_tiny_bundle(Path(folder) / "tiny", 64)
        )
        with serving(bundle, "--max-clients", "12", "--max-per-address", "100") as server:
            outcome = asyncio.run(besiege(server, options.connections, options.seed))
            if options.log:
                options.log.write_text(server.said())
    print(json.dumps(outcome.as_json(), indent=2))
    good = outcome.alive and not outcome.faults and outcome.fps_after > 20
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
