"""Links work once, passes until they expire, and nobody else can make either."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from daetalker.streamer.cli import main
from daetalker.streamer.grants import Grant
from daetalker.streamer.settings import SettingsError
from daetalker.streamer.tokens import TokenError, Tokens, open_tokens
from tests.streamer.serving import settings_for

HOUR_S = 3600.0


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def tokens_in(folder: Path | None, hand: Hand, secret: str = "x" * 32) -> Tokens:
    return Tokens(secret, folder, pass_hours=2.0, now=hand)


def test_a_link_works_once(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path / "used", Hand())
    link = tokens.make_link(Grant("watch", "1f"), 1.0)
    assert tokens.redeem(link) == Grant("watch", "1f")
    with pytest.raises(TokenError) as caught:
        tokens.redeem(link)
    assert caught.value.reason == "used_token"
    assert tokens.redeem(tokens.make_link(Grant("talk"), 1.0)) == Grant("talk")


def test_a_used_link_stays_used_after_a_restart_and_is_then_forgotten(tmp_path: Path) -> None:
    hand, folder = Hand(), tmp_path / "used"
    link = tokens_in(folder, hand).make_link(Grant("talk"), 1.0)
    tokens_in(folder, hand).redeem(link)
    with pytest.raises(TokenError, match="used"):
        tokens_in(folder, hand).redeem(link)
    assert len(list(folder.iterdir())) == 1
    hand.now_s += HOUR_S + 100
    later = tokens_in(folder, hand)
    later.redeem(later.make_link(Grant("talk"), 1.0))
    assert len(list(folder.iterdir())) == 1


def test_without_a_place_to_write_links_still_work_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tokens = tokens_in(tmp_path / "file" / "used", Hand())
    link = tokens.make_link(Grant("talk"), 1.0)
    assert tokens.redeem(link) == Grant("talk")
    assert "forgotten" in caplog.text
    with pytest.raises(TokenError, match="used"):
        tokens.redeem(link)


def test_everything_expires() -> None:
    hand = Hand()
    tokens = tokens_in(None, hand)
    link, pass_ = tokens.make_link(Grant("talk"), 1.0), tokens.make_pass(Grant("talk"))
    hand.now_s += HOUR_S
    with pytest.raises(TokenError) as caught:
        tokens.redeem(link)
    assert caught.value.reason == "expired_token"
    assert tokens.read_pass(pass_) == Grant("talk")
    hand.now_s += HOUR_S
    with pytest.raises(TokenError, match="expired"):
        tokens.read_pass(pass_)


def test_a_links_token_is_no_pass() -> None:
    tokens = tokens_in(None, Hand())
    with pytest.raises(TokenError, match="open the link"):
        tokens.read_pass(tokens.make_link(Grant("operator"), 1.0))
    assert tokens.redeem(tokens.make_pass(Grant("operator"))) == Grant("operator")


def forged(token: str, **claims: object) -> str:
    """The token with other claims and the old signature."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    new = base64.urlsafe_b64encode(json.dumps({**told, **claims}).encode()).decode().rstrip("=")
    return f"{head}.{new}.{signature}"


def unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{head}.{token.split('.')[1]}."


def test_forged_tokens_are_none() -> None:
    hand = Hand()
    tokens = tokens_in(None, hand)
    token = tokens.make_pass(Grant("talk"))
    other = tokens_in(None, hand, "y" * 32).make_pass(Grant("operator"))
    bad = ["", "x", "a.b.c", token[:-2], other, unsigned(token), token + "x", "é"]
    for text in [*bad, forged(token, may="operator"), forged(token, exp=2**60)]:
        with pytest.raises(TokenError) as caught:
            tokens.read_pass(text)
        assert caught.value.reason == "no_token"
        with pytest.raises(TokenError):
            tokens.redeem(text)


def test_the_secret_is_made_once_and_only_for_the_user(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "avatar")
    first, second = open_tokens(settings), open_tokens(settings)
    assert second.read_pass(first.make_pass(Grant("talk"))) == Grant("talk")
    assert settings.state_folder is not None
    secret = settings.state_folder / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.state_folder.stat().st_mode) == 0o700
    given = settings_for(tmp_path / "avatar", access_secret="z" * 40)
    with pytest.raises(TokenError):
        open_tokens(given).read_pass(first.make_pass(Grant("talk")))


@pytest.mark.parametrize("spoil", ["readable", "short", "folder"])
def test_a_secret_that_is_none_stops_the_start(tmp_path: Path, spoil: str) -> None:
    settings = settings_for(tmp_path / "avatar")
    folder = tmp_path / "state"
    if spoil == "folder":
        folder.touch()
    else:
        open_tokens(settings)
        if spoil == "readable":
            os.chmod(folder / "secret", 0o644)
        else:
            (folder / "secret").write_bytes(b"short")
    with pytest.raises(SettingsError) as caught:
        open_tokens(settings)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_prints_links_that_the_server_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> tuple[str, str]:
        assert main(["link", "--state-folder", str(tmp_path / "state"), *arguments]) == 0
        out, err = capsys.readouterr()
        assert out.count("\n") == 1 and err.count("\n") == 1
        return out.strip(), err

    tokens = open_tokens(settings_for(tmp_path / "avatar"))
    link, about = said()
    assert link.startswith("http://127.0.0.1:8080/?token=") and "once" in about
    assert tokens.redeem(link.partition("token=")[2]) == Grant("talk")
    link, about = said("--watch", "1f", "--url", "https://a.example/b/", "--hours", "0.5")
    assert link.startswith("https://a.example/b/?watch=1f&token=") and "watch" in about
    assert tokens.redeem(link.partition("token=")[2]) == Grant("watch", "1f")
    link, _ = said("--operator", "--public-url", "https://c.example")
    assert link.startswith("https://c.example/?token=")
    token, about = said("--program", "--operator")
    assert tokens.read_pass(token) == Grant("operator") and "Bearer" in about
    token, _ = said("--metrics")
    assert tokens.read_pass(token) == Grant("metrics")
