"""Requests that are over, as the access log hands them to whoever counts."""

from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.metrics.counters import Counters
from gateway.wire.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's, as far as it is counted."""

    longest_gap: float = -1.0


def note(
    counters: Counters,
    *,
    route: str | None = "support",
    operation: str | None = "items.list",
    status: int | None = 200,
    failure: GatewayError | None = None,
    streaming: bool = False,
    answer: Answer | None = None,
    first_byte: float | None = 10.25,
    ended: float = 10.5,
) -> None:
    """Count a request that began at second 10."""
    record = RequestRecord(
        request_id="req-12345678",
        started=10.0,
        method="POST",
        route=route,
        operation=operation,
        status=status,
        failure=failure,
        streaming=streaming,
        answer=answer,
        first_byte=first_byte,
        complete=failure is None,
    )
    counters.note(record, ended, record.ended_by)
