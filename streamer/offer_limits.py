"""What an offer's text may be, before any parser looks at it."""

from __future__ import annotations

from aiortc.sdp import SessionDescription

from daetalker.streamer.messages import ProtocolError

__all__ = [
    "MAX_SDP_BYTES",
    "MAX_SDP_CANDIDATES",
    "MAX_SDP_LINES",
    "check_secured",
    "check_size",
]

MAX_SDP_BYTES = 32 * 1024
"""A browser's offer of one voice and one picture has 5 to 9 KiB."""

MAX_SDP_LINES = 600
MAX_SDP_CANDIDATES = 64
"""The server sends connectivity checks to each address that a client names."""


def check_size(sdp: str) -> None:
    """Refuse an offer that is too large to be a browser's.

    Raises:
        ProtocolError: ``bad_sdp``.
    """
    if len(sdp) > MAX_SDP_BYTES or len(sdp.encode(errors="replace")) > MAX_SDP_BYTES:
        raise ProtocolError("bad_sdp", f"The offer may have {MAX_SDP_BYTES} bytes at most.")
    if sdp.count("\n") + 1 > MAX_SDP_LINES:
        raise ProtocolError("bad_sdp", f"The offer may have {MAX_SDP_LINES} lines at most.")
    if sdp.count("a=candidate") > MAX_SDP_CANDIDATES:
        raise ProtocolError(
            "bad_sdp", f"The offer may name {MAX_SDP_CANDIDATES} ICE candidates at most."
        )


def check_secured(description: SessionDescription) -> None:
    """Refuse an offer without what the library only misses when it connects, in a task of its own.

    Raises:
        ProtocolError: ``bad_sdp``.
    """
    for media in description.media:
        if media.port == 0:  # a section that is not wanted
            continue
        if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
            raise ProtocolError("bad_sdp", "The offer has a media section without ICE credentials.")
        if media.dtls is None or not media.dtls.fingerprints:
            raise ProtocolError("bad_sdp", "The offer has a media section without a fingerprint.")
