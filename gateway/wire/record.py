"""What is known of a request while it runs: filled as the request travels, written as one log line at its end.

The one mutable value of the request path. It holds nothing secret: the user is a digest, an error is its code and an
operator's sentence.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol

from gateway.errors import ClientDisconnected, Draining, GatewayError, Limited, SignInEnded
from gateway.identity import Identity
from gateway.wire.asgi import Headers
from gateway.wire.trace import Trace

_KEY = "gateway.record"


class Paced(Protocol):
    """A backend's answer, as far as a record looks at it."""

    @property
    def longest_gap(self) -> float: ...


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request's facts.

    Attributes:
        request_id: Made here or kept from the client.
        started: Monotonic seconds.
        client: Address of whoever asks, behind the proxies that are trusted.
        trace: The trace that it belongs to.
        issuer: Whose user it is, once that is verified.
        answer_headers: Go on every answer of this request: cross-origin permission, for one.
        streaming: Past authentication, on an operation that is answered with a stream.
        status: Of the answer, None until it has started.
        first_byte: Monotonic seconds of the first body byte that is no heartbeat.
        answer: The backend's, once it has been asked.
    """

    request_id: str
    started: float
    method: str
    client: str | None = None
    trace: Trace | None = None
    route: str | None = None
    operation: str | None = None
    user: str | None = None
    issuer: str | None = None
    credential: str | None = None
    streaming: bool = False
    answer_headers: Headers = field(default_factory=list)
    status: int | None = None
    first_byte: float | None = None
    bytes_out: int = 0
    complete: bool = False
    failure: GatewayError | None = None
    answer: Paced | None = None

    def note_identity(self, identity: Identity) -> None:
        """Remember who it is as a digest: enough to follow one user through the log, not to learn who that is."""
        self.user = _digest(identity.issuer, identity.subject)
        self.issuer = identity.issuer

    @property
    def ended_by(self) -> str:
        """Who: complete, client (left), token (expired), backend, drain, limit, or gateway (refused or failed)."""
        if self.failure is None:
            return "complete" if self.complete else "gateway"
        if isinstance(self.failure, Draining):
            return "drain"
        if isinstance(self.failure, ClientDisconnected):
            return "client"
        if isinstance(self.failure, SignInEnded):
            return "token"
        if isinstance(self.failure, Limited):
            return "limit"
        return "backend" if self.failure.source == "backend" else "gateway"

    @property
    def is_ordinary(self) -> bool:
        """Nothing to look into: it was answered in full, or is a stream whose client left; and nobody refused."""
        if self.failure is None:
            return self.complete and self.status is not None and self.status < 400
        return self.streaming and isinstance(self.failure, ClientDisconnected)

    def fields(self, ended: float) -> dict[str, Any]:
        """The log line: what is known. ``ended`` is monotonic seconds; durations come out in milliseconds."""
        failure = self.failure
        fields = {
            "request_id": self.request_id,
            "trace_id": self.trace.trace_id if self.trace else None,
            "route": self.route,
            "operation": self.operation,
            "user": self.user,
            "credential": self.credential,
            "status": 499 if isinstance(failure, ClientDisconnected) else self.status,
            "ended_by": self.ended_by,
            "first_byte_ms": None if self.first_byte is None else round((self.first_byte - self.started) * 1000, 2),
            "duration_ms": round((ended - self.started) * 1000, 2),
            "bytes_out": self.bytes_out,
        }
        if failure is not None:
            fields |= {"code": failure.code, "source": failure.source, "reason": str(failure)}
        # Of most lines everything is known, and to find that out takes less than to look at each.
        return (
            {name: value for name, value in fields.items() if value is not None} if None in fields.values() else fields
        )


@lru_cache(maxsize=4096)
def _digest(issuer: str, subject: str) -> str:
    return sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:16]


def attach(scope: MutableMapping[str, Any], record: RequestRecord) -> None:
    scope[_KEY] = record


def record_of(scope: Mapping[str, Any]) -> RequestRecord:
    """The record of the request that ``scope`` (ASGI) belongs to."""
    record: RequestRecord = scope[_KEY]
    return record
