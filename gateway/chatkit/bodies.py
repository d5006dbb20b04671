"""A ChatKit request body: read once strictly, written once with the verified user in it.

Rules: the identity in the body is ours; whatever the client sent under a reserved name, in any spelling, is gone. The
client's other metadata survives, merged from both places, the top level winning. Every byte outside the two metadata
objects is the client's own. Knows who the user is only as an `Identity`. Pure.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gateway.chatkit.operations import OPERATIONS, Operation
from gateway.errors import BodyTooLarge, MalformedBody, OperationForbidden, UnsupportedMediaType
from gateway.identity import Identity
from gateway.strict_json import MAX_DEPTH, Member, ObjectSpan, Shape, decode, scan_object

# Characters. Names that are reserved, with more disguise than any reader looks through; folding costs time.
MAX_FOLDED: Final = 64

# What the gateway writes; compared by `_fold`, which leaves the letters and digits of a name.
RESERVED: Final = frozenset({"userid", "userinfo", "gateway"})

# What may stand in the log of a type that we do not know: a newer ChatKit's, and nothing else that a body can hold.
_operation_name = re.compile(r"[a-z_]{1,32}(?:\.[a-z_]{1,32}){1,3}")
_no_letters = re.compile(r"[\W_]+")

_quote = json.encoder.encode_basestring_ascii

# Names that mean something to us, by the object they stand in.
_TOP, _PARAMS, _INPUT = frozenset({"type", "params", "metadata"}), frozenset({"input"}), frozenset({"metadata"})

_METADATA = Shape({}, every=True)
_INPUT_SHAPE = Shape({"metadata": _METADATA})
_BODY = Shape({"type": None, "metadata": _METADATA, "params": Shape({"input": _INPUT_SHAPE})})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatKitBody:
    """A body that has been read: its text, where things stand in it, and the operation it asks for."""

    text: str
    span: ObjectSpan
    operation: Operation


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
        text = decode(data, max_depth=max_depth)
        span = scan_object(text, _BODY)
    except ValueError as exc:
        raise MalformedBody(str(exc)) from exc
    _check_object(span.members.get("params"), "params", required=True)
    _check_places(span)
    operation = _find_operation(text, span.members.get("type"))
    if operation.name not in allowed:
        raise OperationForbidden(f"{operation.name} is not among this route's operations")
    return ChatKitBody(text=text, span=span, operation=operation)


def enrich(body: ChatKitBody, identity: Identity, *, request_id: str, locale: str | None, max_metadata: int) -> bytes:
    """The body for the backend, with the verified user in `metadata` and `params.input.metadata`.

    Args:
        max_metadata: Bytes of the client's own metadata that may remain, both places together.

    Raises:
        BodyTooLarge: The client's metadata is larger.
    """
    text, span = body.text, body.span
    client = _client_metadata(text, span)
    size = sum([len(name.encode()) + len(value.encode()) + 2 for name, value in client.values()])
    if size > max_metadata:
        raise BodyTooLarge(f"client metadata of {size} bytes, max_metadata is {max_metadata}")
    metadata = _write_metadata(client, identity, request_id, locale)
    edits = [_edit(text, span, metadata)]
    given = _input_of(span)
    if given is not None:
        edits.append(_edit(text, given, metadata))
    return _apply(text, edits).encode()


def user_info(identity: Identity) -> Mapping[str, Any]:
    """The user as backends and pages are told: ``{id, name, email, roles}``."""
    return {"id": identity.subject, "name": identity.name, "email": identity.email, "roles": identity.roles}


def _find_operation(text: str, member: Member | None) -> Operation:
    if member is None or text[member.start] != '"':
        raise MalformedBody("type is missing or no string")
    written = text[member.start + 1 : member.end - 1]
    name = written if written in OPERATIONS else json.loads(f'"{written}"')
    operation = OPERATIONS.get(name)
    if operation is None:
        raise MalformedBody(f"unknown type {name}" if _operation_name.fullmatch(name) else "unknown type")
    return operation


def _check_object(member: Member | None, name: str, *, required: bool = False) -> None:
    if (required and member is None) or (member is not None and member.object is None):
        raise MalformedBody(f"{name} is {'missing' if member is None else 'no object'}")


def _check_places(span: ObjectSpan) -> None:
    """What leads to metadata, and metadata, is an object wherever it stands, and nothing beside it looks like it.

    A reader that ignores case (Go's encoding/json, for one) would take ``Params`` for ``params``.
    """
    params = span.members["params"].object
    for owner, known in ((span, _TOP), (params, _PARAMS), (_input_of(span), _INPUT)):
        if owner is None:
            continue
        for name in owner.names:
            if name not in known and _fold(name) in known:
                raise MalformedBody(f"a name reads like {_fold(name)!r} and is not")
        for name, member in owner.members.items():
            if name != "type":
                _check_object(member, name)


def _input_of(span: ObjectSpan) -> ObjectSpan | None:
    params = span.members["params"].object
    member = params.members.get("input") if params else None
    return member.object if member else None


def _client_metadata(text: str, span: ObjectSpan) -> Mapping[str, tuple[str, str]]:
    """The client's own metadata: decoded name to (name, value) as written; the top level wins."""
    merged: dict[str, tuple[str, str]] = {}
    for owner in (_input_of(span), span):
        member = owner.members.get("metadata") if owner else None
        if member is None or member.object is None:
            continue
        for name, (name_text, start, end, _) in member.object.members.items():
            if _fold(name) not in RESERVED:
                merged[name] = (name_text, text[start:end])
    return merged


@lru_cache(maxsize=1024)
def _fold(name: str) -> str:
    """One form for all spellings that a careless reader might take for the same name; empty for what is too long."""
    if len(name) > MAX_FOLDED:
        return ""
    if name.isascii():
        return _no_letters.sub("", name.lower())
    return _no_letters.sub("", unicodedata.normalize("NFKD", name).upper().casefold())


def _write_metadata(
    client: Mapping[str, tuple[str, str]], identity: Identity, request_id: str, locale: str | None
) -> str:
    theirs = "".join([f"{name}:{value}," for name, value in client.values()])
    gateway = (
        f'"gateway":{{"requestId":{_quote(request_id)},"issuer":{_quote(identity.issuer)},'
        f'"locale":{"null" if locale is None else _quote(locale)}}}'
    )
    return f"{{{theirs}{_written_user(identity)},{gateway}}}"


@lru_cache(maxsize=4096)
def _written_user(identity: Identity) -> str:
    """The part of the metadata that is the same at every request of a user; a signed-in user makes hundreds."""
    written = json.dumps({"userId": identity.subject, "userInfo": user_info(identity)}, separators=(",", ":"))
    return written[1:-1]


def _edit(text: str, owner: ObjectSpan, metadata: str) -> tuple[int, int, str]:
    """Where to put ``metadata`` into an object: ``(start, end, replacement)``."""
    member = owner.members.get("metadata")
    if member is not None:
        return member.start, member.end, metadata
    end = owner.end - 1
    return end, end, ("," if owner.names else "") + '"metadata":' + metadata


def _apply(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The edits never overlap: one object lies inside the other, and each edit is inside or beside it."""
    pieces = []
    position = 0
    for start, end, replacement in sorted(edits):
        pieces += [text[position:start], replacement]
        position = end
    return "".join([*pieces, text[position:]])
