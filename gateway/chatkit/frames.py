"""Bytes of an event stream: where its events end, and the few frames that the gateway adds.

Rules: an event is never changed or re-split, only seen; a heartbeat is a lone comment line, because a blank line after
it would make ChatKit's client fire an empty message; our own events have exactly ChatKit's form.

Sources: the HTML standard, section 9.2.6 (event streams); ChatKit's `ErrorEvent`, held to it by a test.
"""

import json
from collections.abc import Callable
from typing import Final

from gateway.errors import GatewayError

HEARTBEAT: Final = b":\n"
CONTENT_TYPE: Final = b"text/event-stream"


def error_frame(message: str, *, retry: bool, request_id: str) -> bytes:
    """One ChatKit `error` event. The message names the request, so that a person can quote it."""
    event = {
        "type": "error",
        "code": "custom",
        "message": f"{message} (request {request_id})",
        "allow_retry": retry,
    }
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def error_frame_for(error: GatewayError, request_id: str) -> bytes:
    """The event that tells a streaming client of ``error``: its fixed sentence, never the exception's own text."""
    return error_frame(error.message, retry=error.retry, request_id=request_id)


def is_event_stream(content_type: bytes | None) -> bool:
    """Is this media type an event stream, whatever its parameters?"""
    return (content_type or b"").partition(b";")[0].strip().lower() == CONTENT_TYPE


# Two line ends in a row, each of the three that the standard allows. The second ends CRLF CRLF, and LF CRLF too.
_BLANK_LINES: Final = (b"\n\n", b"\n\r\n", b"\r\r")


def end_of_events(data: bytes, start: int = 0) -> int:
    """Where the last whole event in ``data`` ends, or 0 if none does.

    Args:
        start: Where to begin; what lies before was searched already.
    """
    marks = _BLANK_LINES if b"\r" in data else _BLANK_LINES[:1]
    found = [(data.rfind(mark, start), len(mark)) for mark in marks]
    return max(position + length if position >= 0 else 0 for position, length in found)


class EventSplitter:
    """Lets whole events through the moment they end and holds the beginning of the next one back.

    Args:
        max_tail: Bytes held back at most; an event that outgrows them flows as it comes.

    Attributes:
        between_events: What has been let through ends with a whole event, so a frame of our own may follow.
    """

    __slots__ = ("_max_tail", "_seen", "_tail", "between_events")

    def __init__(self, max_tail: int) -> None:
        self._max_tail = max_tail
        self._tail = b""
        self._seen = b""  # the end of what flowed through unfinished: a blank line may straddle it
        self.between_events = True

    def feed(self, data: bytes) -> bytes:
        """What may go out now that ``data`` has come; empty if no event has ended."""
        known = self._seen or self._tail
        if not known and data.endswith(b"\n\n"):
            self.between_events = True
            return data
        if known:
            end = end_of_events(known + data, max(0, len(known) - 3)) - len(self._seen)
            data = self._tail + data
        else:
            end = end_of_events(data)
        if end > 0:
            ready, self._tail, self._seen = data[:end], data[end:], b""
            self.between_events = True
        else:
            ready, self._tail = b"", data
        if len(self._tail) > self._max_tail or self._seen:
            ready, self._tail = ready + self._tail, b""
            self._seen = (self._seen + ready)[-3:]
            self.between_events = False
        return ready

    def rest(self) -> bytes:
        """What is still held back when the stream has ended."""
        tail, self._tail = self._tail, b""
        return tail


class ChatKitFraming:
    """ChatKit's event stream, as a relay needs to know it.

    Args:
        max_tail: Bytes of an unfinished event held back at most.
        error_frame: The event for an error, on this request.
    """

    __slots__ = ("_max_tail", "error_frame")

    heartbeat = HEARTBEAT
    is_event_stream = staticmethod(is_event_stream)

    def __init__(self, *, max_tail: int, error_frame: Callable[[GatewayError], bytes]) -> None:
        self._max_tail = max_tail
        self.error_frame = error_frame

    def split(self) -> EventSplitter:
        return EventSplitter(self._max_tail)
