"""How a token is written: its size, its three parts, its JSON."""

import json
from collections.abc import Mapping
from typing import Any

from tests.attack.requests import raw_token, unsigned_token
from tests.attack.row import Attack, Refused
from tests.attack.rows.tokens import Token, change, refused
from tests.attack.world import World
from tests.support.issuer import b64

ENCRYPTED = Refused(status=401, code="credential_encrypted")


def _next_letter(part: str) -> str:
    """Another last letter that decodes to the same bytes: 256 bytes leave four bits over."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]


def _repeated(header: bool) -> Token:
    def token(world: World) -> str:
        first: Mapping[str, Any] = {"alg": "RS256", "kid": "k1"} if header else world.claims()
        doubled = json.dumps(first)[:-1] + (',"alg":"RS256"}' if header else ',"sub":"mark-evil-7f3a"}')
        other = json.dumps(world.claims() if header else {"alg": "RS256", "kid": "k1"})
        parts = (doubled, other) if header else (other, doubled)
        return raw_token(parts[0].encode(), parts[1].encode(), world.key())

    return token


def _payload(text: bytes) -> Token:
    return lambda world: raw_token(b'{"alg":"RS256","kid":"k1"}', text, world.key())


def _long(size: int) -> Token:
    return lambda world: world.token(padding="x" * size)


_JWE = f"{b64(b'{}')}.e.e.e.e"
PBES = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31, "p2s": "c2FsdA"}


ROWS: list[Attack] = [
    refused("five-segment JWE", "a JWE", lambda world: _JWE, ENCRYPTED),
    refused("zip bomb", "a JWE with zip DEF", lambda world: unsigned_token({"zip": "DEF"}, {}) + ".e.e", ENCRYPTED),
    refused(
        "zip bomb",
        "zip DEF on three parts, payload packed",
        lambda world: raw_token(b'{"alg":"RS256","kid":"k1","zip":"DEF"}', b"x\x9c" + bytes(2000), world.key()),
    ),
    refused("p2c 2^31", "a JWE with p2c 2^31", lambda world: unsigned_token(PBES, {}) + ".e.e", ENCRYPTED),
    refused("p2c 2^31", "p2c 2^31 on three parts", lambda world: unsigned_token(PBES, world.claims(), b"x"), own=True),
    refused("token of 64 KB", "16 KB and a little", _long(13_000)),
    refused("token of 64 KB", "64 KB", _long(48_000)),
    refused("token of 64 KB", "a token of dots", lambda world: "." * 16_000, own=True),
    refused("base64url", "padding", change(2, lambda part: part + "==")),
    refused("base64url", "plus and slash", change(2, lambda part: part.replace("-", "+").replace("_", "/") + "+/")),
    refused("base64url", "a blank inside", change(1, lambda part: part[:9] + " " + part[9:])),
    refused("base64url", "a tab inside", change(1, lambda part: part[:9] + "\t" + part[9:])),
    refused("base64url", "trailing bits in the signature", change(2, _next_letter)),
    refused("base64url", "one dot more at the end", lambda world: world.token() + ".", own=True),
    refused("base64url", "one dot more at the beginning", lambda world: "." + world.token(), own=True),
    refused("base64url", "a single letter for the payload", change(1, lambda _: "A"), own=True),
    refused("duplicate names", "alg twice in the header", _repeated(True)),
    refused("duplicate names", "sub twice in the payload", _repeated(False)),
    refused("payload no object", "payload is a list", _payload(b'["sub"]')),
    refused("payload no object", "payload is a string", _payload(b'"mark-sub-7f3a"')),
    refused("payload no object", "payload is null", _payload(b"null")),
    refused("payload no object", "payload with a byte order mark", _payload(b"\xef\xbb\xbf{}"), own=True),
    refused("payload no object", "payload nested 5,000 deep", _payload(b'{"a":' * 5000 + b"1" + b"}" * 5000), own=True),
]
