"""A ChatKit request body: read once strictly, written once with the verified user in it.

Rules: the client's own metadata survives, merged from both places, the top level winning; every byte outside the two
metadata objects is the client's own. There are two ways to that. A body as browsers write it is parsed, and written
again from its values, which gives the same bytes. Any other body is read with the place of each member, and edited as
text. Knows who the user is only as an `Identity`. Pure.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from gateway.chatkit.metadata import fold, is_reserved, write_ours
from gateway.chatkit.operations import OPERATIONS, Operation
from gateway.errors import BodyTooLarge, MalformedBody, OperationForbidden, UnsupportedMediaType
from gateway.identity import Identity
from gateway.strict_json import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_NAME,
    ObjectSpan,
    Shape,
    check_depth,
    decode,
    parse_canonical,
    scan_object,
    write,
)

# What may stand in the log of a type that we do not know: a newer ChatKit's, and nothing else that a body can hold.
_operation_name = re.compile(r"[a-z_]{1,32}(?:\.[a-z_]{1,32}){1,3}")

# Names that mean something to us, by the object they stand in.
_TOP: Final = frozenset({"type", "params", "metadata"})
_PARAMS: Final = frozenset({"input"})
_INPUT: Final = frozenset({"metadata"})
_MEANINGFUL: Final = _TOP | _PARAMS | _INPUT

# The names of a body, of its params and of their input.
_Shape = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

# Names of one shape that is remembered: a page's have a dozen.
MAX_REMEMBERED: Final = 32

_NOTHING: Final[Mapping[str, Any]] = {}

_METADATA = Shape({}, unique=True)
_BODY = Shape({"metadata": _METADATA, "params": Shape({"input": Shape({"metadata": _METADATA})})})


class ChatKitBody(NamedTuple):
    """A body that has been read.

    Attributes:
        operation: What it asks for.
        top: The whole of it.
        text: As the client sent it, where ``top`` tells places in it; else empty.
    """

    operation: Operation
    top: dict[str, Any] | ObjectSpan
    text: str = ""


def check_content_type(content_type: bytes | None, content_encoding: bytes | None) -> None:
    """A ChatKit body is JSON in UTF-8, not compressed.

    Raises:
        UnsupportedMediaType: It is declared as anything else. A form or text/plain would be a cross-site request that
            browsers send without asking first.
    """
    if content_type == b"application/json" and content_encoding is None:
        return
    if content_encoding not in (None, b"identity"):
        raise UnsupportedMediaType(f"content-encoding {content_encoding!r:.80}")
    media_type, _, parameters = (content_type or b"").lower().partition(b";")
    if media_type.strip() != b"application/json":
        raise UnsupportedMediaType(f"content-type {content_type!r:.80}, expected application/json")
    if parameters.strip() and parameters.replace(b'"', b"").strip() not in (b"charset=utf-8", b"charset=utf8"):
        raise UnsupportedMediaType(f"content-type {content_type!r:.80}, expected charset=utf-8 or none")


def read_body(data: bytes, allowed: frozenset[str], *, max_depth: int = MAX_DEPTH) -> ChatKitBody:
    """Read a body strictly and find out what it asks for.

    Args:
        data: As the client sent it.
        allowed: The operations this route takes.
        max_depth: Levels of nesting.

    Raises:
        MalformedBody: Not strict JSON, not a ChatKit request, or ambiguous about its metadata.
        OperationForbidden: A known operation that this route does not take.
    """
    try:
        check_depth(data, max_depth)
        values = parse_canonical(data)
        if values is not None and _is_plain(values):
            body = ChatKitBody(operation=_find_operation(values["type"]), top=values)
        else:
            body = _read_by_places(decode(data, max_depth=max_depth))
    except ValueError as exc:
        raise MalformedBody(str(exc)) from exc
    if body.operation.name not in allowed:
        raise OperationForbidden(f"{body.operation.name} is not among this route's operations")
    return body


def enrich(body: ChatKitBody, identity: Identity, *, request_id: str, locale: str | None, max_metadata: int) -> bytes:
    """The body for the backend, with the verified user in `metadata` and `params.input.metadata`.

    Args:
        max_metadata: Bytes of the client's own metadata that may remain, both places together.

    Raises:
        BodyTooLarge: The client's metadata is larger.
    """
    top = body.top
    theirs = _written_of(top) if isinstance(top, dict) else _cut_out_of(body.text, top).encode()
    size = len(theirs) + 1 if theirs else 0
    if size > max_metadata:
        raise BodyTooLarge(f"client metadata of {size} bytes, max_metadata is {max_metadata}")
    ours = write_ours(identity, request_id=request_id, locale=locale).encode()
    metadata = b"{%b,%b}" % (theirs, ours) if theirs else b"{%b}" % ours
    return _put_in(top, msgspec.Raw(metadata)) if isinstance(top, dict) else _edit(body.text, top, metadata.decode())


def thread_of(body: ChatKitBody) -> str | None:
    """The thread that a body says it is about, for those who keep a thread in one place. It is the client's word, and
    grants nothing. None where it names none: a new thread gets its name from the backend.
    """
    if isinstance(body.top, dict):
        thread = body.top["params"].get("thread_id")
    else:
        params = body.top.members["params"].object
        member = params.members.get("thread_id") if params is not None else None
        thread = None if member is None else json.loads(body.text[member.start : member.end])
    return thread if isinstance(thread, str) else None


def _find_operation(name: Any) -> Operation:
    if not isinstance(name, str):
        raise MalformedBody("type is missing or no string")
    operation = OPERATIONS.get(name)
    if operation is None:
        raise MalformedBody(f"unknown type {name}" if _operation_name.fullmatch(name) else "unknown type")
    return operation


# from values


def _is_plain(top: dict[str, Any]) -> bool:
    """Is this what `_check_places` lets pass, within the bounds of `scan_object`? What is not is read by places, where
    it is found out what is wrong with it."""
    params = top.get("params")
    if "type" not in top or type(params) is not dict:
        return False
    given = params.get("input", _NOTHING)
    if type(given) is not dict:
        return False
    shape = tuple(top), tuple(params), tuple(given)
    names = (*top, *params, *given)
    is_short = len(names) <= MAX_REMEMBERED and max(map(len, names)) <= MAX_NAME
    is_plain = _judge_again(shape) if is_short else _judge(shape)
    return is_plain and _is_metadata(top) and _is_metadata(given)


def _is_metadata(owner: dict[str, Any]) -> bool:
    if "metadata" not in owner:
        return True
    metadata = owner["metadata"]
    return type(metadata) is dict and len(metadata) <= MAX_MEMBERS and max(map(len, metadata), default=0) <= MAX_NAME


def _judge(shape: _Shape) -> bool:
    """Are the names of each object few, and is there none that only reads like one that means something?"""
    return all(map(_judge_names, shape, (_TOP, _PARAMS, _INPUT)))


def _judge_names(names: tuple[str, ...], known: frozenset[str]) -> bool:
    others = [name for name in names if name not in known]
    # Their length comes first: what is folded is remembered.
    is_bounded = len(names) <= MAX_MEMBERS and max(map(len, others), default=0) <= MAX_NAME
    return is_bounded and _MEANINGFUL.isdisjoint(map(fold, others))


# A page's bodies have the same few names at every request.
_judge_again = lru_cache(maxsize=256)(_judge)


def _written_of(top: dict[str, Any]) -> bytes:
    """The client's own metadata, as JSON without braces."""
    given = top["params"].get("input") or {}
    merged = given.get("metadata", {}) | top.get("metadata", {})
    theirs = {name: value for name, value in merged.items() if not is_reserved(name)}
    return write(theirs)[1:-1]


def _put_in(top: dict[str, Any], metadata: msgspec.Raw) -> bytes:
    params = top["params"]
    if "input" in params:
        params = {**params, "input": {**params["input"], "metadata": metadata}}
    # A name that is there keeps its place, and a new one comes last.
    return write({**top, "params": params, "metadata": metadata})


# by places in the text


def _read_by_places(text: str) -> ChatKitBody:
    top = scan_object(text, _BODY)
    member = top.members.get("type")
    kind = json.loads(text[member.start : member.end]) if member is not None else None
    operation = _find_operation(kind)
    _check_places(top)
    return ChatKitBody(operation=operation, top=top, text=text)


def _check_places(top: ObjectSpan) -> None:
    """What leads to metadata, and metadata, is an object wherever it stands, and nothing beside it looks like it.

    A reader that ignores case (Go's encoding/json, for one) would take ``Params`` for ``params``.
    """
    if "params" not in top.members:
        raise MalformedBody("params is missing")
    _check_members(top, _TOP)
    params = top.members["params"].object
    if params is not None:
        _check_members(params, _PARAMS)
    given = _input_of(top)
    if given is not None:
        _check_members(given, _INPUT)


def _check_members(owner: ObjectSpan, known: frozenset[str]) -> None:
    for name, member in owner.members.items():
        if name in known:
            if name != "type" and member.object is None:
                raise MalformedBody(f"{name} is no object")
        elif fold(name) in known:
            raise MalformedBody(f"a name reads like {fold(name)!r} and is not")


def _input_of(top: ObjectSpan) -> ObjectSpan | None:
    params = top.members["params"].object
    member = params.members.get("input") if params is not None else None
    return None if member is None else member.object


def _cut_out_of(text: str, top: ObjectSpan) -> str:
    """The client's own metadata, as JSON text without braces, each member as it was written."""
    merged: dict[str, str] = {}
    for owner in (_input_of(top), top):
        member = owner.members.get("metadata") if owner is not None else None
        if member is not None and member.object is not None:
            merged |= _members_of(text, member.object)
    return ",".join(written for name, written in merged.items() if not is_reserved(name))


def _members_of(text: str, owner: ObjectSpan) -> Mapping[str, str]:
    return {name: f"{member.name_text}:{text[member.start : member.end]}" for name, member in owner.members.items()}


def _edit(text: str, top: ObjectSpan, metadata: str) -> bytes:
    """The edits never overlap: one object lies inside the other, and each edit is inside or beside it."""
    edits = [_edit_of(owner, metadata) for owner in (top, _input_of(top)) if owner is not None]
    pieces = []
    position = 0
    for start, end, replacement in sorted(edits):
        pieces += [text[position:start], replacement]
        position = end
    return "".join([*pieces, text[position:]]).encode()


def _edit_of(owner: ObjectSpan, metadata: str) -> tuple[int, int, str]:
    """Where to put ``metadata`` into an object: ``(start, end, replacement)``."""
    member = owner.members.get("metadata")
    if member is not None:
        return member.start, member.end, metadata
    end = owner.end - 1
    return end, end, ("," if owner.members else "") + '"metadata":' + metadata
