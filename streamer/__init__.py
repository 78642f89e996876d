"""The live path: what knows time and peers.  It never imports torch."""

import daetalker.models  # noqa: F401  # before anything here imports the runtime
