"""URLs that carry their own permission: for uploads, previews and downloads that no cookie can accompany.

ChatKit's frame lives on another site and sends no cookie. So a backend hands out URLs on the gateway's address with a
`signature`: whose object it is, which path, which method, for how many minutes. The gateway checks it before anything
is forwarded, and tells the backend the owner in an assertion, as for any other request.

Rules: one signature, for one path with its query and one method (HEAD goes where GET may); several keys at once, so
that they can be rotated; nothing is believed before the signature is checked. Knows nothing of routes.

The format, for whoever signs: itsdangerous' `URLSafeTimedSerializer` with SHA-256 and the salt below, over
``{"issuer", "subject", "tenant"?, "method", "path", "minutes"}``.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from gateway.errors import CredentialAmbiguous, CredentialMissing, TokenExpired, TokenInvalid
from gateway.identity import Identity

SALT: Final = "gateway.signed-url"
PARAMETER: Final = b"signature"

# Bytes. A payload with a long path and a long subject has 1 KB.
MAX_SIGNATURE: Final = 4096

# Seconds that the signer's clock may be ahead of ours.
LEEWAY: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedObject:
    """What a signed URL permits.

    Attributes:
        path: The raw path at the gateway, with ``?`` and the other parameters if there are any: they are signed too.
        minutes: From the moment of signing.
    """

    issuer: str
    subject: str
    tenant: str | None = None
    method: str
    path: str
    minutes: int


class UrlSigner:
    """Checks signed URLs, and makes them.

    Args:
        keys: Secrets, oldest first: the last signs, all are accepted.
        max_minutes: A longer permission is refused, whoever signed it.
        clock: Wall-clock seconds.
    """

    def __init__(self, *, keys: Sequence[str], max_minutes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_minutes = max_minutes
        self._clock = clock

        class ClockedSigner(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock())

        self._serializer: URLSafeTimedSerializer = URLSafeTimedSerializer(
            list(keys),
            salt=SALT,
            signer=ClockedSigner,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def sign(self, permission: SignedObject) -> str:
        """The value of the `signature` parameter for this permission."""
        payload: dict[str, Any] = {
            "issuer": permission.issuer,
            "subject": permission.subject,
            "method": permission.method,
            "path": permission.path,
            "minutes": permission.minutes,
        }
        if permission.tenant is not None:
            payload["tenant"] = permission.tenant
        return self._serializer.dumps(payload)

    def read(self, method: str, path: bytes, query: bytes, accepted: frozenset[str]) -> Identity:
        """Whose permission this request carries.

        Args:
            path: Raw, without query, as matched.
            query: Raw; has the one `signature`, and beside it what was signed with the path.
            accepted: The issuers whose users this route accepts.

        Raises:
            CredentialMissing: No signature.
            CredentialAmbiguous: More than one.
            TokenInvalid: Not signed by one of our keys, or for another method or path, or for too long.
            TokenExpired: Its minutes are over.
        """
        signature, rest = _split_query(query)
        payload, signed_at = self._load(signature)
        minutes = payload.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int) or not 0 < minutes <= self._max_minutes:
            raise TokenInvalid(
                f"signed for {minutes!r:.40} minutes, at most {self._max_minutes} are accepted", about="url"
            )
        expires_at = signed_at + minutes * 60
        if self._clock() >= expires_at:
            raise TokenExpired(f"signed URL ended {self._clock() - expires_at:.0f} s ago")
        if signed_at > self._clock() + LEEWAY:
            raise TokenInvalid(f"signed {signed_at - self._clock():.0f} s ahead; is a clock wrong?", about="url")
        if payload.get("method") != ("GET" if method == "HEAD" else method):
            raise TokenInvalid(f"signed for method {payload.get('method')!r:.20}, used for {method}", about="url")
        target = (path + b"?" + rest if rest else path).decode("latin-1")
        if payload.get("path") != target:
            raise TokenInvalid(f"signed for another path than {target!r:.200}", about="url")
        issuer = _text(payload, "issuer")
        if issuer not in accepted:
            raise TokenInvalid(
                f"signed for a user of {issuer!r:.200}, this route accepts {sorted(accepted)}", about="url"
            )
        return Identity(
            issuer=issuer,
            subject=_text(payload, "subject"),
            tenant=_text(payload, "tenant") if "tenant" in payload else None,
            expires_at=expires_at,
        )

    def _load(self, signature: str) -> tuple[dict[str, Any], float]:
        try:
            payload, signed_at = self._serializer.loads(signature, return_timestamp=True)
        except BadData as exc:
            raise TokenInvalid(f"signed URL: {type(exc).__name__}", about="url") from exc
        if not isinstance(payload, dict):
            raise TokenInvalid("signed URL: the payload is no object", about="url")
        return payload, signed_at.timestamp()


def _split_query(query: bytes) -> tuple[str, bytes]:
    """The one signature, and the query without it."""
    parts = query.split(b"&")
    found = [part for part in parts if part.partition(b"=")[0] == PARAMETER]
    if not found:
        raise CredentialMissing("no signature in the query")
    if len(found) > 1:
        raise CredentialAmbiguous(f"{len(found)} signatures in the query")
    value = found[0].partition(b"=")[2]
    if len(value) > MAX_SIGNATURE:
        raise TokenInvalid(f"signature of {len(value)} bytes, at most {MAX_SIGNATURE}", about="url")
    return value.decode("latin-1"), b"&".join(part for part in parts if part is not found[0])


def _text(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TokenInvalid(f"signed URL: {name} is no printable text", about="url")
    return value
