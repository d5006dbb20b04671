"""Requests and tokens, right ones and wrong ones, as bytes."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from tests.attack.marks import BODY
from tests.support.issuer import SigningKey, b64

ORIGIN = "https://app.example.com"
PUBLIC_URL = "https://chat.example.com"

LIST = json.dumps({"type": "threads.list", "params": {"limit": 1, "note": BODY}}).encode()
CREATE = json.dumps(
    {"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": BODY}]}}}
).encode()
JSON = "application/json"


def ask(
    *headers: str | bytes,
    body: bytes = LIST,
    target: str = "/chatkit",
    method: str = "POST",
    media: str | None = JSON,
    length: bool = True,
) -> bytes:
    """A request with one Host, these headers as they stand, and one Content-Length unless the row brings its own."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: chat.example.com"]
    lines += [header if isinstance(header, bytes) else header.encode("latin-1") for header in headers]
    if media is not None and method == "POST":
        lines.append(f"Content-Type: {media}".encode())
    if method != "POST":
        body = b""
    elif length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def bearer(token: str, *headers: str | bytes, **options: Any) -> bytes:
    return ask(f"Authorization: Bearer {token}", *headers, **options)


def cookie(token: str, *headers: str | bytes, origin: str | None = ORIGIN, **options: Any) -> bytes:
    """What a page sends: the cookie, and its origin."""
    origins = [f"Origin: {origin}"] if origin is not None else []
    return ask(f"Cookie: theme=dark; auth_token={token}", *origins, *headers, **options)


def get(target: str, *headers: str | bytes) -> bytes:
    return ask(*headers, target=target, method="GET")


def raw_token(header: bytes, claims: bytes, key: SigningKey) -> str:
    """A well-signed token with exactly these bytes for header and claims."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def unsigned_token(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


def hmac_token(secret: bytes, claims: Mapping[str, Any], **header: Any) -> str:
    """A token whose signature is an HMAC under ``secret``, as if a public key were a password."""
    signed = unsigned_token({"alg": "HS256", "kid": "k1", "typ": "JWT", **header}, claims).rpartition(".")[0]
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
