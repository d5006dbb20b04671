"""JSON read strictly, and JSON read with positions.

Two readers of one grammar: `parse` gives values; `scan_object` gives the place of each member, so that a caller can
replace one and leave every other byte alone. Both refuse what parsers disagree about, because such text means one thing
to us and another to whoever reads it next: repeated names, NaN and Infinity, numbers beyond a double, a byte order
mark, bad UTF-8, depth beyond reason, anything after the value. A third, `parse_canonical`, gives up instead, ten times
as fast, on text that is not written as programs write it. Knows nothing of ChatKit or JWT.

Sources: RFC 8259; RFC 7493 (I-JSON) for repeated names.
"""

import json
import math
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from json.decoder import scanstring  # type: ignore[attr-defined]  # CPython's C scanner, missing in the stubs
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

# Nesting. A ChatKit widget tree goes some ten levels deep; common parsers give up between 128 and 1,000.
MAX_DEPTH: Final = 64

# Members of one object that `scan_object` walks. A ChatKit body has three; a megabyte of names costs a quarter second.
MAX_MEMBERS: Final = 1024

# Characters of such a name. Comparing names without case costs time by their length, up to eighteenfold (U+FDFA).
MAX_NAME: Final = 128

Scan = Callable[[str, int], tuple[Any, int]]


class Shape(NamedTuple):
    """Which members of an object to walk into, and whether names may repeat inside the others."""

    into: Mapping[str, "Shape"]
    unique: bool = False


class Member(NamedTuple):
    """One member: the text of its name (quotes included), where its value begins and ends, and the object it is."""

    name_text: str
    start: int
    end: int
    object: "ObjectSpan | None"


@dataclass(slots=True)
class ObjectSpan:
    """An object in a text: ``text[start:end]``, and its members by decoded name, in order."""

    start: int
    end: int = 0
    members: dict[str, Member] = field(default_factory=dict)


def parse(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of ``data``.

    Raises:
        ValueError: Not strict JSON. The message says why and quotes nothing of the text.
    """
    text = decode(data, max_depth=max_depth)
    value, end = _scan(_scan_values, text, _skip(text, 0))
    _expect_end(text, end)
    return value


def decode(data: bytes, *, max_depth: int = MAX_DEPTH) -> str:
    """``data`` as text, once its encoding and its depth are known to be sane.

    Raises:
        ValueError: Not UTF-8, or nested deeper than ``max_depth``.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ValueError(f"not UTF-8 at byte {exc.start}") from exc
    check_depth(data, max_depth)
    return text


def check_depth(data: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Raises ValueError if ``data`` is nested deeper than ``max_depth``."""
    if data.count(b"{") + data.count(b"[") > max_depth and _is_deeper(data, max_depth):
        raise ValueError(f"nested deeper than {max_depth} levels")


def parse_canonical(data: bytes) -> dict[str, Any] | None:
    """The object that ``data`` is, if `write` would write it just so; None says nothing but that it would not.

    So it is with what browsers send: `JSON.stringify` puts in no white space and escapes no more than it must. That it
    comes out again, byte for byte, is the proof: no name stood twice, for only one was kept; no number changed; no
    escape, mark or white space was there that the next reader might take otherwise. And any part of it, written again,
    is the client's own text.

    The depth is to be checked before.
    """
    try:
        value = _decode(data)
        return value if type(value) is dict and write(value) == data else None
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def scan_object(text: str, shape: Shape) -> ObjectSpan:
    """The one object that ``text`` (from `decode`) is, with the places of its members.

    Raises:
        ValueError: Not strict JSON, or not an object.
    """
    start = _skip(text, 0)
    if text[start : start + 1] != "{":
        raise ValueError("not an object")
    span = _walk(text, start, shape)
    _expect_end(text, span.end)
    return span


def _walk(text: str, start: int, shape: Shape) -> ObjectSpan:
    span = ObjectSpan(start)
    scan = _scan_unique if shape.unique else _scan_plain
    position = _skip(text, start + 1)
    if text[position : position + 1] == "}":
        span.end = position + 1
        return span
    while True:
        name, value_start, name_text = _read_name(text, position)
        if name in span.members:
            raise ValueError(f"a name stands twice, at character {position}")
        if len(name) > MAX_NAME:
            raise ValueError(f"a name of more than {MAX_NAME} characters, at character {position}")
        if len(span.members) == MAX_MEMBERS:
            raise ValueError(f"more than {MAX_MEMBERS} names in one object")
        inner = shape.into.get(name)
        nested = None
        if inner is not None and text[value_start : value_start + 1] == "{":
            nested = _walk(text, value_start, inner)
            end = nested.end
        else:
            end = _scan(scan, text, value_start)[1]
        span.members[name] = Member(name_text, value_start, end, nested)
        position = _skip(text, end)
        mark = text[position : position + 1]
        if mark == "}":
            span.end = position + 1
            return span
        if mark != ",":
            raise ValueError(f"expected ',' or '}}' at character {position}")
        position = _skip(text, position + 1)


def _read_name(text: str, position: int) -> tuple[str, int, str]:
    """A member's decoded name, where its value begins, and the name as it was written."""
    if text[position : position + 1] != '"':
        raise ValueError(f"expected a name at character {position}")
    try:
        name, end = scanstring(text, position + 1, True)
    except json.JSONDecodeError as exc:
        raise ValueError(f"bad string at character {exc.pos}") from exc
    colon = _skip(text, end)
    if text[colon : colon + 1] != ":":
        raise ValueError(f"expected ':' at character {colon}")
    return name, _skip(text, colon + 1), text[position:end]


def _scan(scan: Scan, text: str, start: int) -> tuple[Any, int]:
    """One value by CPython's scanner, its several ways to fail made one."""
    try:
        return scan(text, start)
    except StopIteration as exc:
        raise ValueError(f"expected a value at character {exc.value}") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"{exc.msg} at character {exc.pos}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


_whitespace = re.compile(r"[ \t\n\r]*")


def _skip(text: str, position: int) -> int:
    # Most JSON on the wire has no white space between its tokens.
    if position < len(text) and text[position] not in " \t\n\r":
        return position
    match = _whitespace.match(text, position)
    return match.end() if match else position


def _expect_end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise ValueError(f"something follows the value at character {position}")


# Possessive, and the closing quote optional: an unterminated string is read once, not once from each quote inside it.
_strings = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_not_brackets = bytes(set(range(256)) - set(b"[]{}"))
_as_steps = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one up, one down, as signed bytes


def _is_deeper(data: bytes, limit: int) -> bool:
    """The deepest point of the walk over opening and closing brackets, in one pass.

    A brace counts as a bracket: where the two do not match, any reader stops.
    """
    brackets = _strings.sub(b"", data).translate(_as_steps, _not_brackets)
    return max(accumulate(array("b", brackets)), default=0) > limit


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is beyond a double")
    return number


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return members


# `parse_int=str` keeps integers of any length cheap where only positions matter.
# Floats by Python's reader: msgspec's takes a hundred times as long for numbers near the ends of a double's range.
_decode = msgspec.json.Decoder(float_hook=float).decode
write = msgspec.json.Encoder().encode
_scan_plain: Scan = json.JSONDecoder(parse_int=str, parse_float=_finite, parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]  # a documented extension point of the module, missing in the stubs
_scan_unique: Scan = json.JSONDecoder(
    parse_int=str, parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=_unique_names
).scan_once  # type: ignore[attr-defined]  # as above
_scan_values: Scan = json.JSONDecoder(
    parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=_unique_names
).scan_once  # type: ignore[attr-defined]  # as above
