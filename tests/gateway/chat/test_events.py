"""Bytes of a stream to events."""

import json

import pytest

from gateway.chat.events import BadStream, EventReader
from tests.gateway.chat.events import ANSWER, delta, frame, stream


def read(*pieces: bytes) -> list[object]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    reader.end()
    return list(events)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_however_the_bytes_are_cut_the_events_are_the_same(end: bytes) -> None:
    """One byte at a time or all at once, in the middle of a letter too, with each line end of the standard."""
    data = stream(*ANSWER, delta("ä€😀")).replace(b"\n", end)
    expected = [*ANSWER, delta("ä€😀")]

    assert read(data) == expected
    assert read(*(data[i : i + 1] for i in range(len(data)))) == expected


def test_what_only_python_takes_for_a_line_end_is_text() -> None:
    """JSON may hold U+2028 and U+0085 as they are; no event is cut in two by them."""
    event = delta("a\u2028b\u2029c\u0085d")

    assert read(frame(event)) == [event]


def test_what_is_no_event_by_the_standard_is_passed_over() -> None:
    """Heartbeats, blank lines, names and ids, a mark at the beginning; data in several lines is one event."""
    data = b'\xef\xbb\xbf:\n\n\n: still here\nevent: message\nid: 7\ndata: {"type":\ndata:"a"}\n\n:\n'

    assert read(data) == [{"type": "a"}]


def test_an_hour_of_heartbeats_is_no_large_event() -> None:
    """The bound is one event's."""
    reader = EventReader(max_event=100)

    assert [list(reader.feed(b":\n")) for _ in range(1000)] == [[]] * 1000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'data: {"ty\n\n', r"^an event that is no JSON: '\{\"ty'$"),
        (b"data: [1]\n\n", "^an event without a type"),
        (b'data: {"type": 1}\n\n', "^an event without a type"),
        (b"data: \xff\n\n", "^an event that is no JSON"),
        (b"data: \x1b[2J\n\n", r"^an event that is no JSON: '\\x1b\[2J'$"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "^an event that is no JSON"),
        (b"data: " + b"x" * 1000, "^an event of more than 1000 bytes$"),
        (b"data: x\n" * 200, "^an event of more than 1000 bytes$"),
    ],
    ids=["half", "list", "number", "latin", "escape", "deep", "long line", "many lines"],
)
def test_nonsense_is_said_and_never_skipped(data: bytes, message: str) -> None:
    """A message left out would look like an answer that is whole; what is quoted is safe to print."""
    reader = EventReader(max_event=1000 if len(data) < 10_000 else 1_000_000)

    with pytest.raises(BadStream, match=message):
        list(reader.feed(data))


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_stream_that_ends_within_an_event_is_noticed(cut: int) -> None:
    """Its bytes were all read, and it is not complete."""
    reader = EventReader()
    list(reader.feed(frame(json.loads('{"type": "a", "text": "long enough"}'))[:-cut]))

    with pytest.raises(BadStream, match="broke off in the middle of an event"):
        reader.end()
