"""What is known of a request, and what of it is logged."""

import pytest

from gateway.errors import (
    BackendTimeout,
    ClientDisconnected,
    Draining,
    GatewayError,
    InternalError,
    SignInEnded,
    TokenExpired,
)
from gateway.identity import Identity
from gateway.wire.record import RequestRecord, attach, record_of


def record(**known: object) -> RequestRecord:
    made = RequestRecord(request_id="req-12345678", started=10.0, method="POST")
    for name, value in known.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("failure", "complete", "ended_by"),
    [
        (None, True, "complete"),
        (None, False, "gateway"),
        (Draining("bye"), True, "drain"),
        (ClientDisconnected("left"), False, "client"),
        (BackendTimeout("slow"), True, "backend"),
        (TokenExpired("old"), True, "gateway"),
        (SignInEnded("its time"), True, "token"),
        (InternalError("bug"), True, "gateway"),
    ],
)
def test_who_ended_it(failure: GatewayError | None, complete: bool, ended_by: str) -> None:
    """One word for the question that is asked first at night."""
    assert record(failure=failure, complete=complete).ended_by == ended_by


def test_the_line_of_a_request_that_worked() -> None:
    """Durations in milliseconds; what is not known is left out."""
    made = record(status=200, complete=True, first_byte=10.25, bytes_out=7, route="support", operation="items.list")

    assert made.fields(10.5) == {
        "request_id": "req-12345678",
        "route": "support",
        "operation": "items.list",
        "status": 200,
        "ended_by": "complete",
        "first_byte_ms": 250.0,
        "duration_ms": 500.0,
        "bytes_out": 7,
    }


def test_the_line_of_a_client_that_left() -> None:
    """499 whatever status had gone out: that is what the client saw of it."""
    fields = record(status=200, failure=ClientDisconnected("left")).fields(11.0)

    assert [fields[name] for name in ("status", "code", "source", "reason")] == [
        499,
        "client_disconnected",
        "client",
        "left",
    ]


def test_a_user_is_a_digest() -> None:
    """One user can be followed through the log, and nobody learns who it is; the same subject elsewhere is another."""
    digests = []
    for issuer, subject in (("https://a", "alice"), ("https://a", "alice"), ("https://b", "alice")):
        made = record()
        made.note_identity(
            Identity(issuer=issuer, subject=subject, name="Alice", email=None, roles=(), tenant=None, expires_at=0)
        )
        digests.append(made.user)

    assert digests[0] == digests[1] != digests[2]
    assert "alice" not in str(digests)
    assert {len(digest or "") for digest in digests} == {16}


def test_the_record_travels_in_the_scope() -> None:
    """Attached once, found again."""
    scope: dict[str, object] = {}
    made = record()
    attach(scope, made)

    assert record_of(scope) is made
