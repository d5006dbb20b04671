"""What the gateway tells a backend: who calls, and exactly what they asked. Signed, short-lived, for one request.

Rules: the assertion names its audience, binds method, path and body, and carries a fresh `jti`, so that it is good for
one request to one backend; its `typ` keeps it from being taken for a user's token, and the other way round.

Sources: RFC 7519, RFC 8725 section 3.11 (explicit typing), RFC 7518 section 3.4 (ES256).
"""

import binascii
import os
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.identity import Identity
from gateway.trust.signing_keys import SigningKey

HEADER: Final = b"x-gateway-assertion"
TYPE: Final = "gateway-assertion+jwt"

# Users at a backend, and targets, whose part of an assertion is kept; some hundred bytes each.
REMEMBERED: Final = 4096

# Bytes. The query is the client's, and may be as long as a whole head.
MAX_REMEMBERED_PATH: Final = 256


class AssertionMint:
    """Signs assertions.

    Args:
        issuer: How the gateway calls itself to its backends.
        key: The key that signs.
        lifetime: Seconds an assertion is good for; covers the way to the backend and the clocks' difference.
        clock: Wall-clock seconds.
        make_id: A fresh unguessable string at every call.
    """

    def __init__(
        self,
        *,
        issuer: str,
        key: SigningKey,
        lifetime: int,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._issuer = issuer
        self._private = key.private
        self._lifetime = lifetime
        self._clock = clock
        self._make_id = make_id
        self._algorithm = ec.ECDSA(hashes.SHA256())
        self._header = _b64(_json({"alg": "ES256", "kid": key.kid, "typ": TYPE}))
        # Somebody who is signed in makes hundreds of requests.
        self._caller = lru_cache(maxsize=REMEMBERED)(self._write_caller)

    def mint(
        self, identity: Identity, *, audience: str, request_id: str, method: str, path: bytes, body: bytes | None
    ) -> bytes:
        """One assertion; arguments as `draft` has them."""
        return self.sign(
            self.draft(identity, audience=audience, request_id=request_id, method=method, path=path, body=body)
        )

    def draft(
        self, identity: Identity, *, audience: str, request_id: str, method: str, path: bytes, body: bytes | None
    ) -> bytes:
        """An assertion without its signature.

        Args:
            audience: The backend's name.
            path: The raw path with query, as sent to the backend.
            body: As sent; None on a route that streams the body in, where there is no digest.
        """
        now = int(self._clock())
        digest = b"null" if body is None else b'"%b"' % sha256(body).hexdigest().encode()
        claims = _CLAIMS % (
            # By the types too: 1 and True compare equal, and are not the same claim.
            self._caller(identity, audience, tuple(map(type, identity.extra.values())) if identity.extra else ()),
            now,
            now + self._lifetime,
            self._make_id().encode(),
            _json(request_id),
            (_remember_target if len(path) <= MAX_REMEMBERED_PATH else _write_target)(method, path),
            digest,
        )
        return self._header + b"." + _b64(claims)

    def sign(self, draft: bytes) -> bytes:
        """The assertion: three parts in base64url. This is what takes the time, some 20 µs."""
        r, s = decode_dss_signature(self._private.sign(draft, self._algorithm))
        return draft + b"." + _b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def _write_caller(self, identity: Identity, audience: str, _types: tuple[type, ...]) -> bytes:
        """The claims that are the same in all assertions for a user at a backend: an object left open."""
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": audience,
            "sub": identity.subject,
            "user_issuer": identity.issuer,
            "roles": identity.roles,
        }
        if identity.name is not None:
            claims["name"] = identity.name
        if identity.email is not None:
            claims["email"] = identity.email
        if identity.tenant is not None:
            claims["tenant"] = identity.tenant
        if identity.extra:
            claims["claims"] = dict(identity.extra)
        return _json(claims)[:-1]


# Behind the caller's claims: what is of this request alone.
_CLAIMS: Final = b'%b,"iat":%d,"exp":%d,"jti":"%b","request_id":%b,"req":{%b,"sha256":%b}}'


def _write_target(method: str, path: bytes) -> bytes:
    # Each byte of the path one character, as the backend reads it.
    return _json({"method": method, "path": path.decode("latin-1")})[1:-1]


_remember_target = lru_cache(maxsize=REMEMBERED)(_write_target)


# In UTF-8: escapes would double what names in most of the world's scripts take of a header.
_json = msgspec.json.Encoder().encode
_urlsafe = bytes.maketrans(b"+/", b"-_")


def _b64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(_urlsafe, b"=")
