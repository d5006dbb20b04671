"""JSON read strictly: one meaning or none."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import strict_json
from gateway.strict_json import Member, ObjectSpan, Shape

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a value at character 0"),
    "white space": (b" \n", "expected a value at character 2"),
    "byte order mark": (b"\xef\xbb\xbf{}", "expected a value at character 0"),
    "bad UTF-8": (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
    "surrogates in UTF-8": (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
    "UTF-16": ('{"a":1}'.encode("utf-16-be"), "expected a value at character 0"),
    "UTF-16 with a mark": ('{"a":1}'.encode("utf-16"), "not UTF-8 at byte 0"),
    "trailing data": (b"{} {}", "something follows the value at character 2"),
    "trailing comma": (b"[1,]", "expected a value at character 3"),
    "NaN": (b"NaN", "NaN is not JSON"),
    "Infinity": (b"[Infinity]", "Infinity is not JSON"),
    "minus Infinity": (b'{"a":-Infinity}', "-Infinity is not JSON"),
    "beyond a double": (b"1e999", "a number is beyond a double"),
    "leading zero": (b"01", "something follows the value at character 1"),
    "duplicate names": (b'{"a":1,"a":1}', "a name stands twice in one object"),
    "duplicate names, one escaped": (b'{"a":1,"\\u0061":2}', "a name stands twice in one object"),
    "duplicate names, deep": (b'[{"x":{"a":1,"a":1}}]', "a name stands twice in one object"),
    "control character": (b'"a\nb"', "Invalid control character at at character 2"),
    "single quotes": (b"{'a':1}", "Expecting property name enclosed in double quotes at character 1"),
    "65 levels": (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
    "65 levels of both kinds": (b'[{"a":' * 32 + b"[]" + b"}]" * 32, "nested deeper than 64 levels"),
    "200,000 levels": (b'{"a":' * 200_000, "nested deeper than 64 levels"),
    "200,000 levels, closed": (b"[" * 200_000 + b"]" * 200_000, "nested deeper than 64 levels"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_parsers_disagree_about_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    """Text that could mean two things means nothing, and the reason quotes none of it."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        strict_json.parse(data)


def test_an_integer_that_takes_long_to_read_is_refused() -> None:
    """Reading an integer costs the square of its digits; beyond 4,300 of them Python refuses, and so do we."""
    with pytest.raises(ValueError, match="4300 digits"):
        strict_json.parse(b"1" * 5000)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a" : [1, 2.5, -0, 1e3, true, null]} \r\n', {"a": [1, 2.5, 0, 1000.0, True, None]}),
        (b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"', "\U0001f600 \U0001f600"),
        (b'"\\ud800"', "\ud800"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"[" * 64 + b"]" * 64, None),
        (b'["' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"]', ["[" * 100 + '"' + "{" * 100]),
        (b"[" + b"[]," * 1000 + b"[]]", [[] for _ in range(1001)]),
    ],
    ids=["white space", "emoji", "lone surrogate", "big integer", "64 levels", "brackets in strings", "wide"],
)
def test_strict_json_is_read_as_it_stands(data: bytes, value: Any) -> None:
    """What RFC 8259 allows and nobody disagrees about is read like everybody reads it."""
    assert strict_json.parse(data) == (json.loads(data) if value is None else value)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 70 + b'"' + b'\\"' * 400_000,
        b"[" * 70 + b'"\\' * 400_000,
        b"[" * 1_000_000,
        b"[" * 400_000 + b"]" * 400_000,
        b"{[" * 200_000 + b"]}" * 200_000,
        b'{"a":"' + b"[" * 400_000 + b"\\" * 400_001,
    ],
    ids=["unterminated, escaped quotes", "unterminated, escapes", "open", "balanced", "both kinds", "backslashes"],
)
def test_no_text_takes_long_to_refuse(data: bytes) -> None:
    """A megabyte is refused in time that grows with its length, not with its square (that took hours)."""
    started = time.process_time()
    with pytest.raises(ValueError, match=r"nested deeper|Unterminated"):
        strict_json.parse(data)

    assert time.process_time() - started < 2


def test_a_scan_tells_where_each_member_stands() -> None:
    """Members by decoded name, with name and value as written; only what the shape names is walked into."""
    text = ' { "a" : {"b":[1]} , "\\u0063":{"d":1} }'

    span = strict_json.scan_object(text, Shape({"a": Shape({})}))

    inner = ObjectSpan(9, 18, {"b": Member('"b"', 14, 17, None)})
    assert span == ObjectSpan(
        1, 39, {"a": Member('"a"', 9, 18, inner), "c": Member('"\\u0063"', text.index('{"d'), 37, None)}
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "not an object"),
        ("", "not an object"),
        ("{", "expected a name at character 1"),
        ('{"a"}', "expected ':' at character 4"),
        ('{"a":}', "expected a value at character 5"),
        ('{"a":1', "expected ',' or '}' at character 6"),
        ('{"a":1,}', "expected a name at character 7"),
        ('{"a":1 "b":2}', "expected ',' or '}' at character 7"),
        ('{"a', "bad string at character 1"),
        ('{"\\x":1}', "bad string at character 2"),
        ('{"a":1}x', "something follows the value at character 7"),
        ('{"a":1,"a":2}', "a name stands twice, at character 7"),
        ('{"m":{"a":1,"\\u0061":2}}', "a name stands twice, at character 12"),
        ('{"m":{"a":[{"b":1,"b":1}]}}', "a name stands twice in one object"),
        ('{"x":NaN}', "NaN is not JSON"),
        ('{"x":[1e999]}', "a number is beyond a double"),
    ],
)
def test_a_scan_refuses_what_is_no_unambiguous_object(text: str, reason: str) -> None:
    """Every fault of the text is one kind of error, with its place."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        strict_json.scan_object(text, Shape({"m": Shape({}, unique=True)}))


def test_a_depth_that_the_interpreter_cannot_bear_is_refused() -> None:
    """Whatever depth a caller allows, the stack has the last word, as an ordinary refusal."""
    with pytest.raises(ValueError, match="nested too deep"):
        strict_json.parse(b"[" * 300_000 + b"]" * 300_000, max_depth=10**6)


def test_names_may_repeat_where_nobody_asked() -> None:
    """Inside values that the shape does not name, everything stays the reader's affair: it is passed on as it came."""
    text = '{"other":{"a":1,"a":2},"n":' + "9" * 10_000 + "}"

    assert strict_json.scan_object(text, Shape({})).members["other"] == Member('"other"', 9, 22, None)


def test_an_object_of_very_many_names_is_refused() -> None:
    """Walking costs a microsecond a name: 1,024 names are read, one more is not."""
    names = [f'"{number}":0' for number in range(1025)]

    assert len(strict_json.scan_object("{" + ",".join(names[:1024]) + "}", Shape({})).members) == 1024
    with pytest.raises(ValueError, match="more than 1024 names"):
        strict_json.scan_object("{" + ",".join(names) + "}", Shape({}))


def test_a_very_long_name_is_refused_where_names_matter() -> None:
    """128 characters are read, one more is not; inside values that nobody walks into it may be as long as it likes."""
    for name in ("n" * 128, "x"):
        assert list(strict_json.scan_object(f'{{"{name}":{{"{"y" * 5000}":1}}}}', Shape({})).members) == [name]
    with pytest.raises(ValueError, match="a name of more than 128 characters, at character 1"):
        strict_json.scan_object(f'{{"{"n" * 129}":1}}', Shape({}))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES, st.booleans())
@settings(database=None, deadline=None)
def test_whatever_json_writes_is_read_back(value: Any, ascii_only: bool) -> None:
    """Round trip: strictness costs no valid document."""
    assert strict_json.parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


FRAGMENTS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b"1",
    b"-",
    b"e9",
    b"a",
    b"\xff",
    b"\\ud800",
    b"NaN",
    b" ",
]


@given(st.binary() | st.lists(st.sampled_from(FRAGMENTS)).map(b"".join))
@settings(database=None, deadline=None, max_examples=300)
def test_nothing_but_value_error_is_ever_raised(data: bytes) -> None:
    """Any bytes are read like Python's own reader reads them, or refused with ValueError."""
    try:
        value = strict_json.parse(data)
    except ValueError:
        return
    assert value == json.loads(data)


@given(st.binary() | st.lists(st.sampled_from(FRAGMENTS)).map(b"".join) | VALUES.map(lambda v: json.dumps(v).encode()))
@settings(database=None, deadline=None, max_examples=300)
def test_a_scan_accepts_exactly_the_objects(data: bytes) -> None:
    """What `scan_object` accepts is an object to any reader, and each span is the text of that member's value."""
    try:
        text = strict_json.decode(data)
        span = strict_json.scan_object(text, Shape({"a": Shape({})}))
    except ValueError:
        return
    value = json.loads(text)
    assert {name: json.loads(text[member.start : member.end]) for name, member in span.members.items()} == value


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a":1,"b":[true,null,-1.5,"x"],"c":{"a":{}}}',
        '{"é":"\U0001f600\\n\\"\\\\/\u2028\x7f"}',
        '{"a":9007199254740993}',
    ],
)
def test_text_as_programs_write_it_is_read_at_once(text: str) -> None:
    """And written again it is the same text."""
    value = strict_json.parse_canonical(text.encode())

    assert value == json.loads(text)
    assert strict_json.write(value) == text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'{"a":[{"b":1,"b":1}]}',
        b'{ "a":1}',
        b'{"a":1}\n',
        b'{"a":1}{',
        b'{"\\u0061":1}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1.10}',
        b'{"a":1e5}',
        b'{"a":-0}',
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a":' + b"1" * 5000 + b"}",
        b"[1]",
        b"",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: ascii(data[:40]),
)
def test_any_other_text_is_left_to_the_strict_reader(data: bytes) -> None:
    """A repeated name at any depth, a number or a string in another spelling, white space, what is no JSON at all."""
    assert strict_json.parse_canonical(data) is None


COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@given(
    st.binary() | st.lists(st.sampled_from(FRAGMENTS)).map(b"".join) | VALUES.map(lambda v: COMPACT.encode(v).encode())
)
@settings(database=None, deadline=None, max_examples=300)
def test_what_is_read_at_once_is_what_the_strict_reader_reads(data: bytes) -> None:
    """The quick reader never takes what the strict one refuses, nor for anything else."""
    value = strict_json.parse_canonical(data)

    if value is not None:
        assert value == strict_json.parse(data)


@pytest.mark.parametrize("number", ["9e307", "1e+300", "5e-324", "1.5"])
def test_no_number_takes_long_to_read_at_once(number: str) -> None:
    """A megabyte of numbers near the ends of a double's range took a second and a half."""
    data = f'{{"a":[{",".join([number] * (1_000_000 // (len(number) + 1)))}]}}'.encode()
    started = time.process_time()
    strict_json.parse_canonical(data)

    assert time.process_time() - started < 0.7
