"""Credential in, identity out: whole tokens, by a fake wall clock, keys from documents."""

import contextlib
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.auth.claim_map import ClaimMap
from gateway.auth.claims import ClaimRules
from gateway.auth.key_fetch import KeyDocument
from gateway.auth.key_source import KeySource, KeyTimes
from gateway.auth.keys import ALGORITHMS
from gateway.auth.verifier import TrustedIssuer, Verifier
from gateway.errors import GatewayError, KeysUnavailable, TokenExpired, TokenInvalid
from gateway.identity import Credential, Identity
from tests.support.issuer import Issuer, SigningKey, b64, rsa_key, signing_key

NOW = 1_800_000_000


def issuer_of(*keys: SigningKey, issuer: str = "https://login.test") -> Issuer:
    return Issuer(issuer=issuer, keys=list(keys) or [signing_key("RS256", kid="k1")])


@dataclass
class World:
    """Some issuers, a verifier that trusts them all, and a clock that stands still."""

    issuers: list[Issuer] = field(default_factory=lambda: [issuer_of()])
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    cache_size: int = 100
    now: float = NOW
    fetches: int = 0
    down: bool = False
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        self.sources = [self._source(issuer) for issuer in self.issuers]
        trusted = [
            TrustedIssuer(rules=self._rules(issuer.issuer), keys=source)
            for issuer, source in zip(self.issuers, self.sources, strict=True)
        ]
        self.results: Counter[str] = Counter()
        self.verifier = Verifier(
            issuers=trusted, cache_size=self.cache_size, results=self.results, clock=lambda: self.now
        )

    def _rules(self, issuer: str) -> ClaimRules:
        return ClaimRules(
            issuer=issuer,
            audiences=frozenset({"chat"}),
            algorithms=frozenset(self.algorithms),
            leeway=30.0,
            claim_map=ClaimMap(),
        )

    def _source(self, issuer: Issuer) -> KeySource:
        async def fetch() -> KeyDocument:
            self.fetches += 1
            if self.down:
                raise KeysUnavailable("down")
            return KeyDocument(content=json.dumps(issuer.jwks()).encode(), max_age=None)

        times = KeyTimes(cooldown=0.0)
        return KeySource(
            issuer=issuer.issuer, fetch=fetch, algorithms=self.algorithms, times=times, clock=lambda: self.now
        )

    def token(self, subject: str = "alice", *, of: int = 0, **changes: Any) -> str:
        return self.issuers[of].token(subject, **{"iat": NOW, "exp": NOW + 600, **changes})

    async def verify(self, token: str, accepted: frozenset[str] | None = None) -> Identity:
        names = frozenset(issuer.issuer for issuer in self.issuers)
        return await self.verifier.verify(Credential(token=token.encode(), source="cookie"), accepted or names)


def person(subject: str, issuer: str = "https://login.test", **changes: Any) -> Identity:
    known = {"name": subject.capitalize(), "email": f"{subject}@example.test", "roles": ("user",)}
    return Identity(**{"issuer": issuer, "subject": subject, "expires_at": NOW + 600, **known, **changes})


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
async def test_a_real_token_of_each_algorithm_names_its_user(algorithm: str) -> None:
    """Signed by the issuer's key, judged by its rules."""
    world = World(issuers=[issuer_of(signing_key(algorithm))], algorithms=(algorithm,))

    assert await world.verify(world.token()) == person("alice")


def forged(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


async def test_a_public_key_is_no_secret() -> None:
    """HS256 over the public key in any of its encodings, under either name, and `none`: refused."""
    world = World()
    key = world.issuers[0].keys[0]
    assert isinstance(key.private, rsa.RSAPrivateKey)
    public = key.private.public_key()
    spki, pkcs1 = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
    secrets = [
        *(public.public_bytes(encoding, shape) for encoding in (Encoding.PEM, Encoding.DER) for shape in (spki, pkcs1)),
        public.public_bytes(Encoding.PEM, spki).strip(),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(key.jwk()).encode(),
        key.jwk()["n"].encode(),
        b"",
    ]
    claims = world.issuers[0].claims()
    tokens = [
        forged({"alg": algorithm, "kid": "k1"}, claims, secret)
        for secret in secrets
        for algorithm in ("HS256", "RS256", "none", "ES256")
    ]

    for token in tokens:
        with pytest.raises(TokenInvalid):
            await world.verify(token)


EVIL = SigningKey(kid="k1", algorithm="RS256", private=rsa_key("evil"))
REFUSED: dict[str, tuple[dict[str, Any], type[GatewayError]]] = {
    "another key under our kid": ({"key": EVIL}, TokenInvalid),
    "its own key in the header": ({"key": EVIL, "header": {"jwk": EVIL.jwk()}}, TokenInvalid),
    "an address of keys": ({"key": EVIL, "header": {"jku": "http://127.0.0.1:1/"}}, TokenInvalid),
    "a certificate": ({"key": EVIL, "header": {"x5c": ["MIIB"], "x5u": "http://127.0.0.1:1/"}}, TokenInvalid),
    "alg none over a real signature": ({"header": {"alg": "none"}}, TokenInvalid),
    "another digest": ({"header": {"alg": "RS512"}}, TokenInvalid),
    "another type of key": ({"header": {"alg": "ES256"}}, TokenInvalid),
    "critical extension": ({"header": {"crit": ["exp"]}}, TokenInvalid),
    "unencoded payload": ({"header": {"b64": False, "crit": ["b64"]}}, TokenInvalid),
    "unknown kid": ({"header": {"kid": "k2"}}, TokenInvalid),
    "kid a path": ({"header": {"kid": "../../dev/null"}}, TokenInvalid),
    "kid with surrogates": ({"header": {"kid": "\ud800"}}, TokenInvalid),
    "kid a number": ({"header": {"kid": 1}}, TokenInvalid),
    "a logout token": ({"header": {"typ": "logout+jwt"}}, TokenInvalid),
    "the gateway's own assertion": ({"header": {"typ": "gateway-assertion+jwt"}}, TokenInvalid),
    "expired": ({"exp": NOW - 30}, TokenExpired),
    "expiry of 400 digits": ({"exp": 10**400}, TokenInvalid),
    "expiry a boolean": ({"exp": True}, TokenInvalid),
    "issuer a list": ({"iss": ["https://login.test"]}, TokenInvalid),
    "issuer an object": ({"iss": {"https://login.test": 1}}, TokenInvalid),
    "issuer with a slash": ({"iss": "https://login.test/"}, TokenInvalid),
    "audience of objects": ({"aud": [{}]}, TokenInvalid),
    "subject with half a pair": ({"subject": "\ud800"}, TokenInvalid),
    "subject a list": ({"subject": ["alice"]}, TokenInvalid),
}


@pytest.mark.parametrize(("changes", "error"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_token_that_is_not_good_is_refused_every_time(
    changes: dict[str, Any], error: type[GatewayError]
) -> None:
    """Never anything but an error of the client's, and never remembered as good."""
    world = World()
    subject = changes.get("subject", "alice")
    claims = {"sub": subject, **{name: value for name, value in changes.items() if name != "subject"}}
    token = world.token(**claims)

    for _ in range(2):
        with pytest.raises(error) as caught:
            await world.verify(token)
        assert (type(caught.value), caught.value.status) == (error, 401)
    assert repr(world.verifier) == "<Verifier 1 issuers, 0 tokens>"


async def test_any_changed_character_makes_a_token_invalid() -> None:
    """Also one that begins like a token verified a moment ago: what is remembered is the whole token."""
    world = World()
    token = world.token()
    await world.verify(token)

    for position in [*range(0, len(token), 29), len(token) - 1]:
        changed = "A" if token[position] != "A" else "B"
        with pytest.raises(TokenInvalid):
            await world.verify(token[:position] + changed + token[position + 1 :])


async def test_es256_takes_no_p384_key() -> None:
    """A key of another curve, under our kid, with the algorithm's name on it."""
    wide = signing_key("ES384", kid="wide")
    world = World(issuers=[issuer_of(signing_key("RS256", kid="k1"), wide)])

    with pytest.raises(TokenInvalid):
        await world.verify(world.token(key=wide, header={"alg": "ES256"}))


async def test_a_token_without_kid_is_good_with_one_key_and_refused_with_two() -> None:
    """Never tried in turn."""
    alone = World()
    double = World(issuers=[issuer_of(signing_key(kid="k1"), signing_key(kid="k2", name="second"))])

    assert await alone.verify(alone.token(header={"kid": None})) == person("alice")
    with pytest.raises(TokenInvalid, match="2 RS256 keys"):
        await double.verify(double.token(header={"kid": None}))


async def test_keys_are_each_issuers_own_and_so_are_subjects() -> None:
    """The same kid at two issuers is two keys; the same subject is two people; nobody signs for the other."""
    one, other = (
        issuer_of(),
        issuer_of(SigningKey(kid="k1", algorithm="RS256", private=rsa_key("b")), issuer="https://b"),
    )
    world = World(issuers=[one, other])

    identities = {await world.verify(world.token(of=0)), await world.verify(world.token(of=1))}

    assert identities == {person("alice"), person("alice", issuer="https://b")}
    with pytest.raises(TokenInvalid, match="signature does not fit"):
        await world.verify(world.token(key=other.keys[0]))


async def test_a_route_refuses_the_users_of_issuers_it_does_not_accept() -> None:
    """Remembered or not."""
    world = World(issuers=[issuer_of(), issuer_of(issuer="https://b")])
    token = world.token(of=1)

    assert await world.verify(token) == person("alice", issuer="https://b")
    for accepted in (frozenset({"https://login.test"}), frozenset({"x"})):
        with pytest.raises(TokenInvalid, match="this route accepts"):
            await world.verify(token, accepted)


async def test_each_verification_is_counted_by_its_result() -> None:
    """Verified once, remembered from then on; refusals and what cannot be told by their code."""
    world = World()
    good, expired = world.token(), world.token(exp=NOW - 60)
    for token in (good, good, expired, "nonsense"):
        with contextlib.suppress(GatewayError):
            await world.verify(token)
    other = World(down=True)
    with contextlib.suppress(GatewayError):
        await other.verify(other.token())

    assert world.results == {"verified": 1, "remembered": 1, "token_expired": 1, "token_invalid": 1}
    assert other.results == {"keys_unavailable": 1}
    assert (world.verifier.remembered, world.verifier.capacity) == (1, 100)


async def test_a_refusal_names_the_issuer_once_it_is_one_of_ours() -> None:
    """Whoever audits refusals learns whose user it seems to be; a stranger's `iss` is nobody's."""
    world = World()
    refused = {}
    for name, token in {"ours": world.token(exp=NOW - 60), "unknown": world.token(iss="https://evil.test")}.items():
        with pytest.raises(GatewayError) as caught:
            await world.verify(token)
        refused[name] = caught.value.issuer

    assert refused == {"ours": "https://login.test", "unknown": None}
