"""One thing that was looked at, and what came of it."""

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of what `gateway check` says.

    Attributes:
        what: What was looked at: a setting, or what was tried.
        text: What is wrong, with the fix; empty if nothing is.
        outcome: A failure does not work, or is no safety; a warning works, until it meets what it tells of.
    """

    what: str
    text: str = ""
    outcome: Outcome = "ok"

    def __str__(self) -> str:
        return f"{_WORDS[self.outcome]}  {self.what}{f': {self.text}' if self.text else ''}"


_WORDS: Final = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}


def warn(what: str, text: str) -> Finding:
    return Finding(what=what, text=text, outcome="warning")


def fail(what: str, text: str) -> Finding:
    return Finding(what=what, text=text, outcome="failure")
