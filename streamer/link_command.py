"""`daetalker link`: one more link into a server, or a token for a program."""

from __future__ import annotations

import argparse
import datetime
import sys

from daetalker.streamer.grants import Grant
from daetalker.streamer.opening import kept_address, link
from daetalker.streamer.settings import Settings
from daetalker.streamer.tokens import open_tokens

__all__ = ["link_command"]


def link_command(options: argparse.Namespace, settings: Settings) -> None:
    """Print it, alone on standard output; what it is for goes to standard error.

    No server needs to run: it knows its own signature when it sees it.

    Raises:
        SettingsError: if the secret cannot be used.
    """
    tokens = open_tokens(settings)
    hours = settings.token_hours if options.hours is None else options.hours
    grant, may = Grant("talk"), "talk"
    if options.watch is not None:
        grant, may = Grant("watch", options.watch), f"watch session {options.watch}"
    elif options.operator:
        grant, may = Grant("operator"), "do everything"
    elif options.metrics:
        grant, may = Grant("metrics"), "read /metrics"
    ends = datetime.datetime.now() + datetime.timedelta(hours=hours)
    if options.program or options.metrics:
        print(tokens.make_pass(grant, hours))
        how = "send it as 'Authorization: Bearer ...'; it works until"
    else:
        base = (options.url or settings.public_url or kept_address(settings)).rstrip("/")
        print(link(base, tokens, grant, hours))
        how = "it opens the page once, in one browser, until"
    print(f"Whoever has it may {may}: {how} {ends:%Y-%m-%d %H:%M}.", file=sys.stderr)
