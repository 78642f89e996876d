"""Is the server of this container alive?  Exit code 0 if it answers that it is, else 1.

Stands on the standard library alone, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request

TIMEOUT_S = 4.0


def alive(port: str) -> bool:
    """Ask ``/healthz`` by https, then by http: which one it is depends on the settings."""
    # Our own server, over loopback: whoever could pretend to be it is in this container already.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    for scheme in ("https", "http"):
        url = f"{scheme}://127.0.0.1:{port}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=trusting) as answer:
                return bool(answer.status == 200)
        except OSError:  # URLError and ssl.SSLError are
            continue
    return False


if __name__ == "__main__":
    sys.exit(0 if alive(os.environ.get("DAETALKER_PORT", "8080")) else 1)
