"""Where an answer is printed: the answer to standard output, everything else to standard error.

Rules: each piece at once; control characters reach a file as they came and a terminal never; a note begins on a line of
its own.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from gateway.chat.events import Event
from gateway.chat.shown import AnswerText, Note, Text, without_controls

PROGRAM = "gateway chat"


@dataclass(slots=True)
class Screen:
    """Two outputs; ``quiet`` leaves notes out."""

    out: TextIO
    err: TextIO
    quiet: bool = False
    _mid_line: bool = False

    def text(self, text: str) -> None:
        self.out.write(without_controls(text) if self.out.isatty() else text)
        self.out.flush()
        self._mid_line = not text.endswith("\n")

    def end_text(self) -> None:
        """The answer ends with a line end, whatever it ended with."""
        if self._mid_line:
            self.text("\n")

    def note(self, text: str) -> None:
        if not self.quiet:
            self.say(text)

    def say(self, text: str) -> None:
        """A line that is shown in any case. On one terminal with the answer it does not end up in its middle."""
        if self._mid_line and self.out.isatty() and self.err.isatty():
            self.end_text()
        self.err.write(without_controls(text).rstrip("\n") + "\n")
        self.err.flush()

    def complain(self, text: str) -> None:
        self.say(f"{PROGRAM}: {text}")


def text_view(screen: Screen) -> Callable[[Event], None]:
    """For people: shows one answer's events."""
    answer = AnswerText()

    def show(event: Event) -> None:
        for piece in answer.take(event):
            match piece:
                case Text(text):
                    screen.text(text)
                case Note(text):
                    screen.note(text)

    return show


def json_view(screen: Screen) -> Callable[[Event], None]:
    """For programs: each event as one line of JSON, in ASCII and so whole in any locale."""
    return lambda event: screen.text(json.dumps(event, separators=(",", ":")) + "\n")


def standard_screen(*, quiet: bool) -> Screen:
    """The process's own outputs. A character that a locale cannot print becomes a question mark, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    return Screen(sys.stdout, sys.stderr, quiet=quiet)
