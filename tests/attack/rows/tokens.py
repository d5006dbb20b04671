"""Tokens as such: algorithms, keys named in them, their kind. What they claim is `claims`."""

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.attack.key_server import Tripwire
from tests.attack.requests import bearer, hmac_token, unsigned_token
from tests.attack.row import Attack, Refused, Row, Served, Trial
from tests.attack.wire import exchange
from tests.attack.world import World
from tests.support.issuer import encode

INVALID = Refused(status=401, code="token_invalid")
Token = Callable[[World], str]


def refused(threat: str, name: str, token: Token, expected: Refused = INVALID, *, own: bool = False) -> Row:
    """A token, as a bearer, that must not be believed."""
    return Row(threat=threat, name=name, attack=lambda world: bearer(token(world)), expected=expected, own=own)


def accepted(threat: str, name: str, token: Token, *, own: bool = False) -> Row:
    """The control: a token next to the attack that must be believed."""
    return Row(threat=threat, name=name, attack=lambda world: bearer(token(world)), expected=Served(), own=own)


def _public(form: str) -> Token:
    """A token signed with the main issuer's public key, taken for an HMAC secret."""

    def token(world: World) -> str:
        public = world.key().private.public_key()
        if form == "jwk":
            secret = json.dumps(world.key().jwk()).encode()
        elif form == "ssh":
            secret = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        else:
            encoding = serialization.Encoding.PEM if form == "pem" else serialization.Encoding.DER
            secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hmac_token(secret, world.claims())

    return token


def _with_header(**members: Any) -> Token:
    return lambda world: world.token(header=members)


def _foreign_key(world: World, **members: Any) -> str:
    """Signed by a key nobody published, which the header brings along."""
    key = world.key("other")
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT", "jwk": key.jwk(), **members}
    return encode(header, world.claims(), key)


def _no_visit(name: str, value: Callable[[Tripwire], Any]) -> Trial:
    def trial(world: World) -> str:
        before = world.tripwire.visits
        token = encode(
            {"alg": "RS256", "kid": "unknown", name: value(world.tripwire)}, world.claims(), world.key("other")
        )
        seen = INVALID.status, exchange(world.services["gateway"].port, bearer(token)).answers[0].status
        assert seen[0] == seen[1], f"status {seen[1]}"
        assert world.tripwire.visits == before, "the gateway went there"
        return "401, no outbound request"

    return Trial(
        threat="jwk jku x5u x5c",
        name=f"header {name} names a place for keys",
        wanted="401, no outbound request",
        trial=trial,
    )


def change(part: int, change: Callable[[str], str]) -> Token:
    """A good token with one of its three parts rewritten."""

    def token(world: World) -> str:
        parts = world.token().split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)

    return token


def _none(algorithm: str) -> Token:
    return lambda world: unsigned_token({"alg": algorithm, "kid": "k1"}, world.claims())


ROWS: list[Attack] = [
    accepted("control", "a good RS256 token", lambda world: world.token()),
    accepted("control", "a good ES256 token", lambda world: world.token(key=world.key(number=1))),
    *(refused("alg none", f"alg {name!r}, no signature", _none(name)) for name in ("none", "None", "NONE", "nOnE")),
    refused("alg none", "alg none with a good signature", _with_header(alg="none"), own=True),
    refused("alg none", "no alg at all", _with_header(alg=None), own=True),
    refused("alg none", "alg as a list", _with_header(alg=["RS256"]), own=True),
    refused("empty signature", "RS256 with nothing behind the last dot", change(2, lambda _: "")),
    refused("empty signature", "no last dot either", lambda world: world.token().rpartition(".")[0], own=True),
    *(
        refused("hs256 with the public key", f"public key as {form}", _public(form))
        for form in ("pem", "der", "jwk", "ssh")
    ),
    refused(
        "hs256 with the public key",
        "HMAC under alg RS256",
        lambda world: hmac_token(json.dumps(world.key().jwk()).encode(), world.claims(), alg="RS256"),
        own=True,
    ),
    refused(
        "algorithm not allowed",
        "ES256 at an issuer that allows RS256 only",
        lambda world: world.token("one", header={"alg": "ES256"}, key=world.key(number=1)),
    ),
    refused("algorithm not allowed", "RS512 where RS256 is allowed", _with_header(alg="RS512"), own=True),
    refused("algorithm not allowed", "alg rs256 in lower case", _with_header(alg="rs256"), own=True),
    refused("jwk jku x5u x5c", "header jwk with the attacker's key", lambda world: _foreign_key(world)),
    refused("jwk jku x5u x5c", "header jwk under an unknown kid", lambda world: _foreign_key(world, kid="mine")),
    refused("jwk jku x5u x5c", "header x5c", lambda world: _foreign_key(world, x5c=["MIIB"])),
    *(
        _no_visit(name, value)
        for name, value in (
            ("jku", lambda wire: f"{wire.url}/keys"),
            ("x5u", lambda wire: f"{wire.url}/cert.pem"),
            ("kid", lambda wire: f"{wire.url}/kid"),
            ("jwk", lambda wire: {"kty": "RSA", "jku": wire.url}),
        )
    ),
    accepted("jwk jku x5u x5c", "a good token with jku is good still", _with_header(jku="http://127.0.0.1:1/")),
    refused("crit", "crit names an extension", _with_header(crit=["exp"], exp=1)),
    refused("crit", "crit is empty", _with_header(crit=[]), own=True),
    refused("b64 false", "b64 false with crit", _with_header(b64=False, crit=["b64"])),
    refused("b64 false", "b64 false without crit", _with_header(b64=False)),
    accepted("kid missing", "no kid, one key", lambda world: world.token("one", header={"kid": None})),
    refused("kid missing", "no kid, several keys", lambda world: world.token("several", header={"kid": None})),
    refused("kid strange", "kid as a path", _with_header(kid="../../etc/passwd")),
    refused("kid strange", "kid as SQL", _with_header(kid="' OR 1=1 --"), own=True),
    refused("kid strange", "kid as a number", _with_header(kid=1)),
    refused(
        "kid strange", "kid null", lambda world: encode({"alg": "RS256", "kid": None}, world.claims(), world.key())
    ),
    refused("kid strange", "kid as a list", _with_header(kid=["k1"])),
    refused("kid strange", "kid of 10 KB", _with_header(kid="k" * 10_000), own=True),
    refused(
        "kid strange",
        "kid of 1 MB",
        _with_header(kid="k" * 2**20),
        Refused(status=431, code="headers_too_large", closed=True),
    ),
    refused("kid strange", "kid with a line break", _with_header(kid='k1\r\n{"event":"forged"}\n'), own=True),
    refused("token typed otherwise", "a logout token", _with_header(typ="logout+jwt"), own=True),
    refused("token typed otherwise", "a DPoP proof", _with_header(typ="dpop+jwt"), own=True),
    accepted("token typed otherwise", "an access token, at+jwt", _with_header(typ="at+jwt"), own=True),
]
