"""The page's files, read once from the installed package, with their HTTP headers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
SKIPPED_FOLDERS = {"node_modules", "test", "tests"}

SECURITY_HEADERS = {
    # Everything comes from this server; WebSockets to it count as 'self'.
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",  # so nothing of what is not listed: no objects, frames, prefetch
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "media-src 'self' blob: mediastream:",
            "connect-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=(), "
    "payment=(), usb=(), serial=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


HSTS = "max-age=31536000"
"""A browser that has seen it never again speaks plain http to this host, on any port.  So it is
sent only where somebody has set a certificate for the host, not with one of our own making."""


def security_headers(own_certificate: bool) -> dict[str, str]:
    """The headers of every answer of a server."""
    return SECURITY_HEADERS | ({"Strict-Transport-Security": HSTS} if own_certificate else {})


@dataclass(frozen=True)
class Asset:
    """A file to serve.  ``etag`` is quoted, as the header wants it."""

    body: bytes
    media_type: str
    etag: str


def asset(body: bytes, media_type: str) -> Asset:
    """An asset with the tag of its content."""
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def load_page() -> dict[str, Asset]:
    """All files of the page by URL path; ``/`` is ``/index.html``.

    Held in memory (well under a megabyte), so that no request ever names a file on disk.
    """
    found: dict[str, Asset] = {}
    _collect(files("daetalker.web_client"), "/", found)
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        name = entry.name
        if name.startswith((".", "_")):
            continue
        if entry.is_dir():
            if name not in SKIPPED_FOLDERS:
                _collect(entry, f"{prefix}{name}/", found)
            continue
        suffix = name[name.rfind(".") :] if "." in name else ""
        # Tooling beside the page (package.json, *.test.js) is no part of it.
        if suffix in MEDIA_TYPES and ".test." not in name and not name.startswith("package"):
            found[prefix + name] = asset(entry.read_bytes(), MEDIA_TYPES[suffix])
