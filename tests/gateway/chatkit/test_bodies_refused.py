"""Bodies that two readers could read differently, or that ask for what the route does not take."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chatkit.bodies import enrich, read_body
from gateway.chatkit.operations import OPERATIONS
from gateway.errors import BodyTooLarge, MalformedBody, OperationForbidden
from gateway.identity import Identity

ALL = frozenset(OPERATIONS)

MINIMAL = b'"type":"items.list","params":{}'
REFUSED: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"hello",
    "list": b"[]",
    "string": b'"x"',
    "null": b"null",
    "byte order mark": b"\xef\xbb\xbf{" + MINIMAL + b"}",
    "bad UTF-8": b"{" + MINIMAL + b',"x":"\xff"}',
    "UTF-16": ("{" + MINIMAL.decode() + "}").encode("utf-16"),
    "surrogates in UTF-8": b"{" + MINIMAL + b',"x":"\xed\xa0\x80"}',
    "trailing data": b"{" + MINIMAL + b"}{}",
    "trailing NUL": b"{" + MINIMAL + b"}\x00",
    "gzip": b"\x1f\x8b\x08\x00",
    "NaN": b"{" + MINIMAL + b',"x":NaN}',
    "Infinity deep": b"{" + MINIMAL + b',"x":[{"y":-Infinity}]}',
    "1e999": b"{" + MINIMAL + b',"x":1e999}',
    "65 levels": b"{" + MINIMAL + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
    "200,000 levels": b"{" + MINIMAL + b',"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a million names": b"{" + MINIMAL + b"".join(b',"%d":0' % number for number in range(100_000)) + b"}",
    "a name of 129 characters": b"{" + MINIMAL + b',"' + b"n" * 129 + b'":0}',
    "a name of 129 characters in metadata": b"{" + MINIMAL + b',"metadata":{"' + b"n" * 129 + b'":0}}',
    "type missing": b'{"params":{}}',
    "type unknown": b'{"type":"threads.destroy","params":{}}',
    "type in another case": b'{"type":"Items.List","params":{}}',
    "type null": b'{"type":null,"params":{}}',
    "type a list": b'{"type":["items.list"],"params":{}}',
    "type an object": b'{"type":{"a":1},"params":{}}',
    "type a number of 5,000 digits": b'{"type":' + b"1" * 5000 + b',"params":{}}',
    "type twice": b'{"type":"items.list","type":"items.list","params":{}}',
    "type twice in another case": b"{" + MINIMAL + b',"Type":"threads.delete"}',
    "params missing": b'{"type":"items.list"}',
    "params null": b'{"type":"items.list","params":null}',
    "params a list": b'{"type":"items.list","params":[]}',
    "params twice": b"{" + MINIMAL + b',"params":{}}',
    "params twice, escaped": b"{" + MINIMAL + b',"p\\u0061rams":{}}',
    "params in another case": b"{" + MINIMAL + b',"Params":{}}',
    "a name in params twice": b'{"type":"items.list","params":{"a":1,"a":1}}',
    "input null": b'{"type":"items.list","params":{"input":null}}',
    "input a string": b'{"type":"items.list","params":{"input":"x"}}',
    "input twice": b'{"type":"items.list","params":{"input":{},"input":{}}}',
    "input in another case": b'{"type":"items.list","params":{"INPUT":{},"input":{}}}',
    "a name in input twice": b'{"type":"items.list","params":{"input":{"a":1,"\\u0061":1}}}',
    "metadata null": b"{" + MINIMAL + b',"metadata":null}',
    "metadata a list": b"{" + MINIMAL + b',"metadata":[]}',
    "metadata a string": b"{" + MINIMAL + b',"metadata":"{}"}',
    "metadata twice": b"{" + MINIMAL + b',"metadata":{},"metadata":{}}',
    "metadata twice, escaped": b"{" + MINIMAL + b',"metadata":{},"meta\\u0064ata":{}}',
    "Metadata": b"{" + MINIMAL + b',"Metadata":{}}',
    "meta_data": b"{" + MINIMAL + b',"meta_data":{}}',
    "metadata in full width": b"{" + MINIMAL + ',"\uff4detadata":{}}'.encode(),
    "metadata with a zero-width space": b"{" + MINIMAL + ',"meta\u200bdata":{}}'.encode(),
    "a name in metadata twice": b"{" + MINIMAL + b',"metadata":{"a":1,"a":2}}',
    "a name deep in metadata twice": b"{" + MINIMAL + b',"metadata":{"a":[{"b":1,"\\u0062":2}]}}',
    "input's metadata null": b'{"type":"items.list","params":{"input":{"metadata":null}}}',
    "input's metadata twice": b'{"type":"items.list","params":{"input":{"metadata":{},"metadata":{}}}}',
    "input's METADATA": b'{"type":"items.list","params":{"input":{"METADATA":{}}}}',
    "a name deep in input's metadata": b'{"type":"items.list","params":{"input":{"metadata":{"a":{"b":1,"b":2}}}}}',
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    """400, by one error, whose text quotes nothing long; never forwarded as it came."""
    with pytest.raises(MalformedBody) as caught:
        read_body(data, ALL)

    assert (caught.value.status, len(str(caught.value)) < 200) == (400, True)


def test_no_body_takes_long_to_judge() -> None:
    """A megabyte of names that grow when they are compared: judged in a fraction of a second."""
    long = "\ufdfa" * 120
    names = ",".join(f'"{long}{number}":0' for number in range(1021))
    started = time.process_time()

    body = read_body(b"{" + MINIMAL + f',"metadata":{{{names}}}}}'.encode(), ALL)
    with pytest.raises(BodyTooLarge):
        enrich(body, Identity(issuer="i", subject="s", expires_at=1.0), request_id="r", locale=None, max_metadata=9)
    assert time.process_time() - started < 2


def test_64_levels_are_read() -> None:
    """The last depth that is: a widget tree has ten."""
    data = b"{" + MINIMAL + b',"x":' + b"[" * 63 + b"]" * 63 + b"}"

    assert read_body(data, ALL).operation.name == "items.list"


def test_an_operation_the_route_does_not_take_is_forbidden() -> None:
    """Known, but not here: 403; what is taken is told with its operation."""
    allowed = frozenset({"items.list"})

    assert read_body(b"{" + MINIMAL + b"}", allowed).operation == OPERATIONS["items.list"]
    with pytest.raises(OperationForbidden):
        read_body(b'{"type":"threads.delete","params":{}}', allowed)


@given(
    st.binary() | st.lists(st.sampled_from([MINIMAL, b"{", b"}", b",", b'"metadata":', b"{}", b'"a":1'])).map(b"".join)
)
@settings(database=None, deadline=None, max_examples=300)
def test_any_bytes_are_a_body_or_a_clients_error(data: bytes) -> None:
    """Read like Python's own reader reads them, or refused as malformed; nothing else is raised."""
    try:
        body = read_body(data, ALL)
    except MalformedBody:
        return
    assert json.loads(data)["type"] == body.operation.name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("threads.destroy", "unknown type threads.destroy"),
        ("my password is 1234", "unknown type"),
        ("a.b\n", "unknown type"),
    ],
)
def test_the_log_names_an_unknown_type_only_if_it_is_one(name: str, reason: str) -> None:
    """The reason goes to the log, where nothing else of a body may stand."""
    with pytest.raises(MalformedBody) as refusal:
        read_body(json.dumps({"type": name, "params": {}}).encode(), ALL)

    assert str(refusal.value) == reason


@pytest.mark.parametrize(("depth", "good"), [(10, True), (11, False)])
def test_the_depth_is_a_setting(depth: int, good: bool) -> None:
    """At both sides of its edge."""
    body = b'{"type":"threads.list","params":{"x":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"
    if good:
        assert read_body(body, frozenset({"threads.list"}), max_depth=10).operation.name == "threads.list"
    else:
        with pytest.raises(MalformedBody, match="deeper than 10"):
            read_body(body, frozenset({"threads.list"}), max_depth=10)


@pytest.mark.parametrize("place", ["top", "params", "input"])
def test_a_refused_name_is_not_remembered(place: str) -> None:
    """As long as a body may be, and a thousand of them: a gigabyte that anybody signed in could have kept."""
    tracemalloc.start()
    try:
        for number in range(20):
            bad = {f"{place}{number}{'n' * 200_000}": 1}
            params = {"input": bad} if place == "input" else bad if place == "params" else {}
            body = {"type": "items.list", "params": params} | (bad if place == "top" else {})
            with pytest.raises(MalformedBody):
                read_body(json.dumps(body, separators=(",", ":")).encode(), ALL)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000
