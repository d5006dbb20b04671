"""Where an answer is printed."""

import io
import json
import sys

import pytest

from gateway.chat.screen import Screen, json_view, standard_screen, text_view
from tests.gateway.chat.events import ANSWER, delta


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_answer_and_everything_else_go_separate_ways() -> None:
    """A script that keeps standard output keeps the answer alone."""
    screen = Screen(io.StringIO(), io.StringIO())
    show = text_view(screen)
    for event in ({"type": "progress_update", "text": "Looking"}, *ANSWER):
        show(event)
    screen.end_text()
    screen.complain("it broke")

    assert screen.out.getvalue() == "Hello\n"  # type: ignore[attr-defined]
    assert screen.err.getvalue() == "... Looking\ngateway chat: it broke\n"  # type: ignore[attr-defined]


def test_quiet_leaves_notes_out_and_failures_in() -> None:
    """Whoever wants only the answer still has to learn why there is none."""
    screen = Screen(io.StringIO(), io.StringIO(), quiet=True)
    screen.note("progress")
    screen.complain("it broke")

    assert screen.err.getvalue() == "gateway chat: it broke\n"  # type: ignore[attr-defined]


def test_a_note_in_mid_answer_begins_a_line_on_a_terminal() -> None:
    """Only there: in a file the answer stays as it was given."""
    terminal = Screen(both := Terminal(), both)
    file = Screen(io.StringIO(), Terminal())
    for screen in (terminal, file):
        screen.text("Hel")
        screen.note("progress")
        screen.text("lo")
        screen.end_text()

    assert both.getvalue() == "Hel\nprogress\nlo\n"
    assert file.out.getvalue() == "Hello\n"  # type: ignore[attr-defined]


def test_a_file_gets_what_was_said_and_a_terminal_nothing_that_it_would_obey() -> None:
    """Bytes for programs, characters for people; notes are for people always."""
    terminal, file = Screen(Terminal(), Terminal()), Screen(io.StringIO(), io.StringIO())
    for screen in (terminal, file):
        screen.text("a\x1b[2Jb")
        screen.note("c\x1b[2Jd")

    assert (terminal.out.getvalue(), file.out.getvalue()) == ("a�[2Jb\n", "a\x1b[2Jb")  # type: ignore[attr-defined]
    assert file.err.getvalue() == "c�[2Jd\n"  # type: ignore[attr-defined]


def test_events_for_programs_are_one_line_each() -> None:
    """Whatever is in them, in any locale; read back they are the same."""
    screen = Screen(io.StringIO(), io.StringIO())
    events = [*ANSWER, delta("ä\u2028\x9b\n")]
    for event in events:
        json_view(screen)(event)
    lines = screen.out.getvalue()  # type: ignore[attr-defined]

    assert lines.isascii()
    assert [json.loads(line) for line in lines.splitlines()] == events


def test_a_character_that_a_locale_lacks_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced; the answer goes on."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    standard_screen(quiet=False).text("é 😀\n")

    assert out.buffer.getvalue() == b"\xe9 ?\n"
