"""Where events end, and the frames that the gateway adds."""

import itertools
import json
import time

import pytest
from chatkit.types import ErrorEvent, ThreadStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.chatkit.frames import (
    HEARTBEAT,
    ChatKitFraming,
    EventSplitter,
    end_of_events,
    error_frame,
    error_frame_for,
    is_event_stream,
)
from gateway.errors import BackendTimeout, InternalError

# A recorded answer: a comment, a two-line event, an event with a name, emoji, an empty event, and a tail cut off.
LINES = [
    ": hello",
    "",
    'data: {"type":"thread.created",',
    'data: "thread":{"id":"thr_1","title":"Grüße 😀"}}',
    "",
    "event: x",
    "id: 7",
    'data: {"type":"progress_update","text":"a\\n\\nb"}',
    "",
    ":",
    "",
    'data: {"ty',
]
STREAMS = {
    "LF": "\n".join(LINES).encode(),
    "CRLF": "\r\n".join(LINES).encode(),
    "CR": "\r".join(LINES).encode(),
    "BOM": b"\xef\xbb\xbf" + "\n".join(LINES).encode(),
    "whole": "\n".join(LINES[:-1]).encode() + b"\n",
    "LF, then CRLF on the blank line": "\n".join(LINES).encode().replace(b"\n\n", b"\n\r\n"),
}
ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")


def check_split(stream: bytes, chunks: list[bytes]) -> None:
    splitter = EventSplitter(max_tail=1000)
    outputs = [splitter.feed(chunk) for chunk in chunks]
    tail = splitter.rest()

    assert b"".join(outputs) + tail == stream
    assert all(not output or output.endswith(ENDS) for output in outputs)
    assert not any(end in tail for end in ENDS)
    assert splitter.between_events
    assert splitter.rest() == b""


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_cut_anywhere_comes_out_byte_for_byte_in_whole_events(stream: bytes) -> None:
    """Cut in two and in three at every byte: what goes out ends with an event, and what is held back holds none."""
    for cut in range(len(stream) + 1):
        check_split(stream, [stream[:cut], stream[cut:]])
    for first, second in itertools.combinations(range(len(stream) + 1), 2):
        check_split(stream, [stream[:first], stream[first:second], stream[second:]])


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_of_single_bytes_lets_each_event_go_as_it_ends(stream: bytes) -> None:
    """At the byte that ends it, not one later."""
    splitter = EventSplitter(max_tail=1000)
    position = 0
    for index in range(len(stream)):
        output = splitter.feed(stream[index : index + 1])
        whole = stream[: index + 1]
        if any(whole.endswith(end) for end in ENDS):
            assert output == stream[position : index + 1]
            position = index + 1
        else:
            assert output == b""
    assert splitter.rest() == stream[position:]


@pytest.mark.parametrize(
    ("data", "start", "end"),
    [
        (b"", 0, 0),
        (b"data: x\n", 0, 0),
        (b"data: x\n\n", 0, 9),
        (b"data: x\n\ndata", 0, 9),
        (b"a\n\nb\n\nc", 0, 6),
        (b"a\r\n\r\nb", 0, 5),
        (b"a\r\rb", 0, 3),
        (b"a\n\r\nb", 0, 4),
        (b"a\r\n\nb", 0, 4),
        (b"a\r\nb", 0, 0),
        (b"a\r\n\r", 0, 0),
        (b"a\n\nb\r\rc", 0, 6),
        (b"a\n\nb", 2, 0),
    ],
)
def test_an_event_ends_with_two_line_ends(data: bytes, start: int, end: int) -> None:
    """LF, CRLF or CR, and the last one in the data counts."""
    assert end_of_events(data, start) == end


@pytest.mark.parametrize("size", [1, 1000, 65_536])
def test_an_event_of_a_megabyte_flows(size: int) -> None:
    """Beyond the bound nothing more is held back; between events we are again only when it has ended."""
    event = b"data: " + b"x" * 1_000_000 + b"\n\n" if size > 1 else b"data: " + b"x" * 9000 + b"\n\n"
    splitter = EventSplitter(max_tail=4096)
    held = sent = 0
    for start in range(0, len(event), size):
        chunk = event[start : start + size]
        sent += len(splitter.feed(chunk))
        held = max(held, start + len(chunk) - sent)
        assert splitter.between_events is (sent in (0, len(event)))

    assert (sent, splitter.rest()) == (len(event), b"")
    assert held <= 4096


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_an_event_that_outgrew_the_bound_is_seen_across_any_cut(end: bytes) -> None:
    """Also when its blank line comes in pieces, and the event behind it is held back again."""
    stream = b"data: " + b"x" * 20 + end + b"data: y"
    for cuts in itertools.combinations(range(10, len(stream)), 3):
        places = [0, *cuts, len(stream)]
        splitter = EventSplitter(max_tail=8)
        outputs = [splitter.feed(stream[a:b]) for a, b in itertools.pairwise(places)]

        assert b"".join(outputs) + splitter.rest() == stream
        assert splitter.between_events
        assert b"".join(outputs).endswith(end)


def test_a_slow_stream_of_single_bytes_costs_little() -> None:
    """A 60 KB event byte by byte is held and released in well under a second per megabyte moved."""
    splitter = EventSplitter(max_tail=65_536)
    started = time.process_time()
    for _ in range(60_000):
        splitter.feed(b"x")

    assert splitter.feed(b"\n\n") == b"x" * 60_000 + b"\n\n"
    assert time.process_time() - started < 5


PIECES = st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", b"\xf0\x9f", b"\xef\xbb\xbf", b""]) | st.binary(
    max_size=9
)


@given(st.lists(PIECES), st.integers(min_value=0, max_value=20))
@settings(database=None, deadline=None, max_examples=300)
def test_any_bytes_flow_unchanged_and_little_is_held(chunks: list[bytes], max_tail: int) -> None:
    """Whatever a backend sends, no byte is lost, doubled or changed, and no more than the bound is held back."""
    splitter = EventSplitter(max_tail)
    sent = b""
    for index, chunk in enumerate(chunks):
        output = splitter.feed(chunk)
        sent += output
        assert len(b"".join(chunks[: index + 1])) - len(sent) <= max_tail
        if output and splitter.between_events:
            assert sent.endswith(ENDS)
    assert sent + splitter.rest() == b"".join(chunks)


def test_an_error_frame_is_chatkits_own_error_event() -> None:
    """One event in ChatKit's form, whatever the text: no line break of the message ends it early."""
    frame = error_frame('line\r\n\r\nbreak "quoted" ü \u2028', retry=True, request_id="r-1")

    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    assert not any(mark in frame[:-2] for mark in (b"\n", b"\r"))
    event = TypeAdapter[ThreadStreamEvent](ThreadStreamEvent).validate_json(frame[len("data: ") :])
    assert event == ErrorEvent(
        code="custom", message='line\r\n\r\nbreak "quoted" ü \u2028 (request r-1)', allow_retry=True
    )


@pytest.mark.parametrize("error", [BackendTimeout("http://10.0.0.1 secret"), InternalError("secret")])
def test_the_event_for_an_error_says_its_fixed_sentence(error: BackendTimeout | InternalError) -> None:
    """Never the exception's own text, which is the operator's."""
    event = json.loads(error_frame_for(error, "r-1")[6:])

    assert event == {
        "type": "error",
        "code": "custom",
        "message": f"{error.message} (request r-1)",
        "allow_retry": error.retry,
    }


def test_a_heartbeat_is_one_comment_line_and_never_a_blank_one() -> None:
    """Between events it makes no empty message: neither before the next event nor after another heartbeat."""
    assert HEARTBEAT == b":\n"
    assert end_of_events(HEARTBEAT * 3 + b"data: x\n") == 0


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b" text/event-stream ", True),
        (b"application/json", False),
        (b"text/event-streams", False),
        (b"", False),
        (None, False),
    ],
)
def test_an_event_stream_is_told_by_its_media_type(content_type: bytes | None, expected: bool) -> None:
    """Whatever its parameters and case."""
    assert is_event_stream(content_type) is expected


def test_framing_hands_out_a_fresh_splitter_with_its_bound() -> None:
    """What a relay needs: splitter, heartbeat, error frame."""
    framing = ChatKitFraming(max_tail=3, error_frame=lambda error: error.code.encode())

    assert framing.split() is not framing.split()
    assert [framing.split().feed(b"abc"), framing.split().feed(b"abcd")] == [b"", b"abcd"]
    assert framing.error_frame(InternalError("x")) == b"internal_error"
    assert framing.heartbeat == HEARTBEAT
