"""Who is shown by an avatar, and who agreed to what: the part of a bundle that no code can check.

Code can only refuse to hand on an avatar about which nothing was said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

# What people leave in a form they did not fill in.
_UNFILLED = re.compile(
    r"<[^>]*>|\[[^\]]*\]|\.{3}|…|\b(todo|tbd|fixme|xxx+|placeholder|lorem|fill (this )?in)\b", re.I
)
_SAYS_NOTHING = {"", "-", "n/a", "na", "none", "null", "no", "yes", "ok", "consent", "statement"}


@dataclass(frozen=True)
class Consent:
    """What was agreed.

    Attributes:
        person: who is shown; for a synthetic face, that it is nobody.
        agreed_by: who agreed: the person, or who may speak for them.
        statement: what they agreed to, in their words; for a synthetic face, why nobody had to.
        uses: what the avatar may be used for.
        date: the day of the agreement, ``YYYY-MM-DD``, or empty.
    """

    person: str = ""
    agreed_by: str = ""
    statement: str = ""
    uses: tuple[str, ...] = ()
    date: str = ""

    @classmethod
    def of(cls, value: Any) -> Consent:
        """From a manifest or a description; a plain string is the statement alone (format 1).

        Raises:
            ValueError: naming the field that is wrong.
        """
        if isinstance(value, Consent):
            return value
        if isinstance(value, str):
            return cls(statement=value)
        if not isinstance(value, dict):
            raise ValueError(
                "consent must be a table with person, agreed_by, statement, uses, date"
            )
        unknown = value.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"unknown field consent.{min(map(str, unknown))!r}")
        uses = value.get("uses", ())
        if not isinstance(uses, list | tuple) or not all(isinstance(use, str) for use in uses):
            raise ValueError("consent.uses must be a list of texts")
        day = value.get("date", "")
        day = day.isoformat() if isinstance(day, date) else day  # TOML has dates of its own
        texts = {key: value.get(key, "") for key in ("person", "agreed_by", "statement")}
        for key, text in {**texts, "date": day}.items():
            if not isinstance(text, str):
                raise ValueError(f"consent.{key} must be a text")
        if day:
            try:
                date.fromisoformat(day)
            except ValueError:
                raise ValueError(f"consent.date {day!r} must be a day as YYYY-MM-DD") from None
        return cls(**texts, uses=tuple(uses), date=day)

    def as_json(self) -> dict[str, Any]:
        """The value of ``consent`` in a manifest."""
        return {
            "person": self.person,
            "agreed_by": self.agreed_by,
            "statement": self.statement,
            "uses": list(self.uses),
            "date": self.date,
        }


def lacking(consent: Consent, synthetic: bool) -> str | None:
    """The first thing left unsaid that must be said before an avatar is handed on, or None.

    Of a synthetic face only the statement is asked: there is nobody else to name.
    """
    if not _said(consent.statement):
        return "consent.statement" + (
            " (why nobody had to agree)" if synthetic else " (what the person shown agreed to)"
        )
    if synthetic:
        return None
    if not _said(consent.person):
        return "consent.person (who is shown)"
    if not _said(consent.agreed_by):
        return "consent.agreed_by (who agreed)"
    if not consent.uses or not all(map(_said, consent.uses)):
        return "consent.uses (a list of what the avatar may be used for)"
    if not consent.date:
        return "consent.date (the day of the agreement, YYYY-MM-DD)"
    return None


def _said(text: str) -> bool:
    return text.strip(" .\n\t").casefold() not in _SAYS_NOTHING and not _UNFILLED.search(text)
