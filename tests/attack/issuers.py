"""The issuers of the world: each with its own keys, and its own way of publishing them or failing to."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.attack.key_server import Endpoint, KeyServer, Tripwire, answer
from tests.attack.requests import PUBLIC_URL
from tests.support.issuer import Issuer, SigningKey, b64, b64_int, rsa_key, signing_key

# Seconds. A flood lasts a few of these.
FLOOD_COOLDOWN = 1


@dataclass(slots=True, kw_only=True)
class IssuerAtWork:
    """An issuer, where its keys are, and what the settings say of it."""

    issuer: Issuer
    path: str
    settings: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    usable: bool = True
    keys: Mapping[str, SigningKey] = field(default_factory=dict)

    def toml(self, name: str, keys_url: str) -> str:
        return (
            f'[issuers.{name}]\nissuer = "{self.issuer.issuer}"\njwks_url = "{keys_url}{self.path}"\n'
            f"audiences = {json.dumps([self.issuer.audience, 'chat-too'])}\n"
            f"algorithms = {json.dumps(list(self.algorithms))}\n{self.settings}\n"
        )


class _MislabelledKey(SigningKey):
    """A P-384 key that says ES256: SHA-256 under numbers of 48 bytes."""

    def sign(self, data: bytes) -> bytes:
        assert isinstance(self.private, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def _named(name: str, *keys: SigningKey, audience: str = "chat") -> Issuer:
    return Issuer(issuer=f"https://{name}.test", audience=audience, keys=list(keys))


def _rsa(kid: str, name: str, bits: int = 2048) -> SigningKey:
    return SigningKey(kid=kid, algorithm="RS256", private=rsa_key(name, bits))


def build_issuers(keys: KeyServer, tripwire: Tripwire) -> dict[str, IssuerAtWork]:
    """Every issuer of the main gateway, published at ``keys``."""
    issuers = {
        "main": IssuerAtWork(issuer=_named("main", _rsa("k1", "main"), signing_key("ES256", "e1")), path="/main"),
        "one": IssuerAtWork(issuer=_named("one", _rsa("k1", "one")), path="/one", algorithms=("RS256",)),
        "several": IssuerAtWork(issuer=_named("several", _rsa("a", "one"), _rsa("b", "main")), path="/several"),
        "other": IssuerAtWork(issuer=_named("other", _rsa("k1", "other")), path="/other"),
        "tenants": IssuerAtWork(
            issuer=_named("tenants", _rsa("k1", "one")), path="/tenants", settings='claims = { tenant = "tid" }'
        ),
        "rotating": IssuerAtWork(
            issuer=_named("rotating", signing_key("ES256", "old"), signing_key("ES256", "new")),
            path="/rotating",
            settings="cooldown = 0.5",
        ),
        "flooded": IssuerAtWork(
            issuer=_named("flooded", signing_key("ES256", "f1")),
            path="/flooded",
            settings=f"cooldown = {FLOOD_COOLDOWN}",
        ),
        "flaky": IssuerAtWork(
            issuer=_named("flaky", signing_key("ES256", "f1")), path="/flaky", settings="cooldown = 0.5"
        ),
    }
    for table in issuers.values():
        keys.publish(table.path, table.issuer.jwks())
    keys.publish("/fading", issuers["flaky"].issuer.jwks())
    keys.publish("/rotating", {"keys": [issuers["rotating"].issuer.keys[0].jwk()]})
    issuers["mixed"] = _mixed(keys)
    broken: dict[str, Endpoint] = {
        "redirect": answer(302, b"", location=f"{tripwire.url}/keys"),
        "html": answer(200, b"<html>Sign in</html>", content_type="text/html"),
        "huge": keys.huge,
        "slow": keys.slow,
        "empty": answer(200, b""),
        "nokeys": answer(200, b'{"keys":[]}'),
    }
    for name, endpoint in broken.items():
        keys.endpoints[f"/{name}"] = endpoint
        issuers[name] = IssuerAtWork(
            issuer=_named(name, _rsa("k1", "one")), path=f"/{name}", settings="fetch_timeout = 1", usable=False
        )
    return issuers


def build_gateways_own(keys: KeyServer, signing: SigningKey) -> IssuerAtWork:
    """A mistake in the settings: the gateway listed as an issuer of users. Only `typ` is then left between the two."""
    own = Issuer(issuer=PUBLIC_URL, audience="agent", keys=[signing])
    keys.publish("/own", own.jwks())
    return IssuerAtWork(issuer=own, path="/own")


def _mixed(keys: KeyServer) -> IssuerAtWork:
    """One good key among keys that nobody may use."""
    good = _rsa("good", "one")
    bad = {
        "weak": _rsa("weak", "weak", 1024),
        "enc": _rsa("enc", "other"),
        "private": _rsa("private", "main"),
        "p384": _MislabelledKey(kid="p384", algorithm="ES256", private=ec.generate_private_key(ec.SECP384R1())),
    }
    private = rsa_key("main").private_numbers()
    p384 = bad["p384"].private
    assert isinstance(p384, ec.EllipticCurvePrivateKey)
    point = p384.public_key().public_numbers()
    curve = {"crv": "P-384", "x": b64_int(point.x, 48), "y": b64_int(point.y, 48)}
    changed: dict[str, Callable[[], dict[str, Any]]] = {
        "weak": bad["weak"].jwk,
        "enc": lambda: {**bad["enc"].jwk(), "use": "enc"},
        "private": lambda: {**bad["private"].jwk(), "d": b64_int(private.d)},
        "p384": lambda: {"kty": "EC", "kid": "p384", "alg": "ES256", "use": "sig", **curve},
        "oct": lambda: {"kty": "oct", "kid": "oct", "alg": "HS256", "k": b64(b"mark-secret-7f3a-mark-secret-7f3a")},
    }
    keys.publish("/mixed", {"keys": [*(jwk() for jwk in changed.values()), good.jwk()]})
    return IssuerAtWork(issuer=_named("mixed", good), path="/mixed", keys=bad)
