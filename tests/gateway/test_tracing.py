"""Spans: one for each request of a route, with what the gateway decided and nothing of the user."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.errors import BackendTimeout, GatewayError, TokenInvalid
from gateway.identity import Identity
from gateway.tracing import Spans
from gateway.wire.record import RequestRecord
from gateway.wire.trace import Trace

TRACE_ID, PARENT_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "1111111111111111"
SECOND = 10**9


def trace(*, parent: str | None = PARENT_ID, flags: int = 1) -> Trace:
    return Trace(trace_id=TRACE_ID, parent_id=parent, span_id=SPAN_ID, flags=flags)


def noted(
    *, route: str | None = "support", failure: GatewayError | None = None, **known: Any
) -> Sequence[ReadableSpan]:
    """The spans of one request that took two and a half seconds, and ended three seconds ago."""
    exporter = InMemorySpanExporter()
    spans = Spans(SimpleSpanProcessor(exporter), clock=lambda: 100 * SECOND, monotonic=lambda: 15.5)
    record = RequestRecord(
        request_id="req-12345678", started=10.0, method="POST", route=route, failure=failure, **known
    )
    record.note_identity(Identity(issuer="https://login.test", subject="mark-subject", expires_at=0))
    spans.note(record, 12.5, record.ended_by)
    return exporter.get_finished_spans()


def test_a_span_says_where_what_and_how_it_ended() -> None:
    """It hangs on the caller's, and the backend's hang on it; nothing in it says who the user is."""
    (span,) = noted(trace=trace(), operation="items.list", status=200, complete=True)

    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert (f"{span.context.span_id:016x}", f"{span.parent.span_id:016x}") == (SPAN_ID, PARENT_ID)
    assert span.parent.is_remote
    assert (span.name, span.kind, span.status.status_code) == ("support items.list", SpanKind.SERVER, StatusCode.UNSET)
    assert (span.start_time, span.end_time) == (round(94.5 * SECOND), 97 * SECOND)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "gateway.route": "support",
        "gateway.operation": "items.list",
        "gateway.ended_by": "complete",
        "gateway.request_id": "req-12345678",
    }
    assert span.resource.attributes["service.name"] == "chatkit-gateway"
    assert "mark-" not in span.to_json()


def test_a_trace_that_begins_here_has_no_parent() -> None:
    """The span is its root."""
    (span,) = noted(trace=trace(parent=None))

    assert span.parent is None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (BackendTimeout("mark-reason"), StatusCode.ERROR, "backend_timeout"),
        (TokenInvalid("mark-reason"), StatusCode.UNSET, "token_invalid"),
    ],
)
def test_a_failure_is_its_code_and_the_clients_is_no_error_of_ours(
    failure: GatewayError, status: StatusCode, code: str
) -> None:
    """The reason is for the log alone: it may quote what a client sent."""
    (span,) = noted(trace=trace(), failure=failure)

    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (status, code)
    assert "mark-" not in span.to_json()


@pytest.mark.parametrize("given", [{"trace": trace(flags=0)}, {"trace": trace(), "route": None}, {"trace": None}])
def test_what_is_not_recorded_has_no_span(given: dict[str, Any]) -> None:
    """A trace whose caller does not record it, a probe, a path that is nothing."""
    assert noted(**given) == ()


def test_nothing_is_imported_unless_it_is_used() -> None:
    """A gateway without a collector needs neither the extra nor its start-up time."""
    code = "import sys, gateway.serving; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout.strip() == "[]"
