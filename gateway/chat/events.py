"""Bytes of an event stream to ChatKit events.

Rules: a line ends where the standard says and nowhere else (`str.splitlines` and httpx's `iter_lines` also split at
U+2028, which JSON text may hold as it is); heartbeats and unknown fields are passed over; what is no event is an error,
never skipped. Knows nothing of HTTP.

Source: the HTML standard, section 9.2.6.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Event = Mapping[str, Any]

# Bytes. A generated picture inside an event has some megabytes; more than this is no event.
MAX_EVENT = 32 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\r|\n")


class BadStream(Exception):
    """What arrived is not a stream of ChatKit events."""


class EventReader:
    """Feed it what arrives, in pieces of any size."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.max_event = max_event
        self._begun = False
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are whole now. Raises BadStream."""
        if not data:
            return
        # The line feed of a CRLF that came in two pieces.
        rest = data[1:] if self._after_return and data.startswith(b"\n") else data
        self._after_return = data.endswith(b"\r")
        first, *others = _LINE_END.split(rest)
        self._grow(first)
        for piece in others:
            yield from self._end_line()
            self._grow(piece)

    def end(self) -> None:
        """The stream has ended. Raises BadStream if that was in the middle of an event."""
        if self._data or any(self._line):
            raise BadStream("the answer broke off in the middle of an event")

    def _grow(self, piece: bytes) -> None:
        self._line.append(piece)
        self._size += len(piece)
        if self._size > self.max_event:
            raise BadStream(f"an event of more than {self.max_event} bytes")

    def _end_line(self) -> Iterator[Event]:
        line = b"".join(self._line)
        self._line = []
        if not self._begun:
            line, self._begun = line.removeprefix(codecs.BOM_UTF8), True
        if line.startswith(b"data:"):
            self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line:
            data, self._data, self._size = b"\n".join(self._data), [], 0
            if data:
                yield parse_event(data)
        elif not self._data:
            self._size = 0  # heartbeats add up to nothing


def parse_event(data: bytes) -> Event:
    """One event. Raises BadStream."""
    try:
        event = json.loads(data.decode())
    except (ValueError, RecursionError) as exc:
        raise BadStream(f"an event that is no JSON: {quote(data)}") from exc
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise BadStream(f"an event without a type: {quote(data)}")
    return event


def quote(data: bytes) -> str:
    """The beginning of ``data``, safe to print."""
    return ascii(data[:80].decode("utf-8", "replace"))
