"""A ChatKit request body: read once strictly, written once with the verified user in it.

Rules: the client's own metadata survives, merged from both places, the top level winning; every byte outside the two
metadata objects is the client's own. There are two ways to that. A body as browsers write it is parsed, and written
again from its values, which gives the same bytes. Any other body is read with the place of each member, and edited as
text. Knows who the user is only as an `Identity`. Pure.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

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

_METADATA = Shape({}, unique=True)
_BODY = Shape({"metadata": _METADATA, "params": Shape({"input": Shape({"metadata": _METADATA})})})

# An object of a body, in either way of reading; `_names` and `_object` know both.
_Object = dict[str, Any] | ObjectSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatKitBody:
    """A body that has been read.

    Attributes:
        operation: What it asks for.
        top: The whole of it.
        text: As the client sent it, where ``top`` tells places in it; else empty.
    """

    operation: Operation
    top: _Object
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
        if values is not None and _is_small(values):
            body = ChatKitBody(operation=_find_operation(values.get("type")), top=values)
        else:
            body = _read_by_places(decode(data, max_depth=max_depth))
    except ValueError as exc:
        raise MalformedBody(str(exc)) from exc
    _check_places(body.top)
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
    theirs = _written_of(body.top) if isinstance(body.top, dict) else _cut_out_of(body.text, body.top)
    size = len(f"{theirs},".encode()) if theirs else 0
    if size > max_metadata:
        raise BodyTooLarge(f"client metadata of {size} bytes, max_metadata is {max_metadata}")
    ours = write_ours(identity, request_id=request_id, locale=locale)
    metadata = f"{{{theirs},{ours}}}" if theirs else f"{{{ours}}}"
    if isinstance(body.top, dict):
        return _put_in(body.top, msgspec.Raw(metadata.encode()))
    return _edit(body.text, body.top, metadata)


def thread_of(body: ChatKitBody) -> str | None:
    """The thread that a body says it is about, for those who keep a thread in one place. It is the client's word, and
    grants nothing. None where it names none: a new thread gets its name from the backend.
    """
    params = _object(body.top, "params")
    if params is None or "thread_id" not in _names(params):
        return None
    if isinstance(params, dict):
        thread = params["thread_id"]
    else:
        member = params.members["thread_id"]
        thread = json.loads(body.text[member.start : member.end])
    return thread if isinstance(thread, str) else None


# both ways


def _names(owner: _Object) -> Collection[str]:
    return owner if isinstance(owner, dict) else owner.members


def _object(owner: _Object, name: str) -> _Object | None:
    """The member as an object; None if it is something else."""
    if isinstance(owner, dict):
        value = owner[name]
        return value if isinstance(value, dict) else None
    return owner.members[name].object


def _input_of(top: _Object) -> _Object | None:
    params = _object(top, "params")
    return _object(params, "input") if params is not None and "input" in _names(params) else None


def _find_operation(name: Any) -> Operation:
    if not isinstance(name, str):
        raise MalformedBody("type is missing or no string")
    operation = OPERATIONS.get(name)
    if operation is None:
        raise MalformedBody(f"unknown type {name}" if _operation_name.fullmatch(name) else "unknown type")
    return operation


def _check_places(top: _Object) -> None:
    """What leads to metadata, and metadata, is an object wherever it stands, and nothing beside it looks like it.

    A reader that ignores case (Go's encoding/json, for one) would take ``Params`` for ``params``.
    """
    if "params" not in _names(top):
        raise MalformedBody("params is missing")
    _check_members(top, _TOP)
    params = _object(top, "params")
    if params is not None:
        _check_members(params, _PARAMS)
    given = _input_of(top)
    if given is not None:
        _check_members(given, _INPUT)


def _check_members(owner: _Object, known: frozenset[str]) -> None:
    for name in _names(owner):
        if name in known:
            if name != "type" and _object(owner, name) is None:
                raise MalformedBody(f"{name} is no object")
        elif fold(name) in known:
            raise MalformedBody(f"a name reads like {fold(name)!r} and is not")


# from values


def _is_small(top: dict[str, Any]) -> bool:
    """Are the objects that we look into, and their names, within the bounds of `scan_object`?"""
    params = top.get("params")
    given = params.get("input") if isinstance(params, dict) else None
    inner = given.get("metadata") if isinstance(given, dict) else None
    for part in (top, params, given, inner, top.get("metadata")):
        if isinstance(part, dict) and (len(part) > MAX_MEMBERS or max(map(len, part), default=0) > MAX_NAME):
            return False
    return True


def _written_of(top: dict[str, Any]) -> str:
    """The client's own metadata, as JSON text without braces."""
    merged: dict[str, Any] = {}
    for owner in (_input_of(top), top):
        if isinstance(owner, dict) and "metadata" in owner:
            merged |= owner["metadata"]
    theirs = {name: value for name, value in merged.items() if not is_reserved(name)}
    return write(theirs)[1:-1].decode() if theirs else ""


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
    return ChatKitBody(operation=_find_operation(kind), top=top, text=text)


def _cut_out_of(text: str, top: ObjectSpan) -> str:
    """The client's own metadata, as JSON text without braces, each member as it was written."""
    merged: dict[str, str] = {}
    for owner in (_input_of(top), top):
        member = owner.members.get("metadata") if isinstance(owner, ObjectSpan) else None
        if member is not None and member.object is not None:
            merged |= _members_of(text, member.object)
    return ",".join(written for name, written in merged.items() if not is_reserved(name))


def _members_of(text: str, owner: ObjectSpan) -> Mapping[str, str]:
    return {name: f"{member.name_text}:{text[member.start : member.end]}" for name, member in owner.members.items()}


def _edit(text: str, top: ObjectSpan, metadata: str) -> bytes:
    """The edits never overlap: one object lies inside the other, and each edit is inside or beside it."""
    edits = [_edit_of(owner, metadata) for owner in (top, _input_of(top)) if isinstance(owner, ObjectSpan)]
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
