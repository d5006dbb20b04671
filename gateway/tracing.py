"""A span for each request, sent to an OpenTelemetry collector; an extra: ``pip install chatkit-gateway[tracing]``.

Rules: nothing of OpenTelemetry is imported unless the settings name a collector. The span's ids are the request's own
trace (`wire.trace`), decided before the backend is asked; the span itself is made when all is over, in one call. It
says where, what and how it ended: no claim, no token, no body, no address. Sending is a thread's; a collector that is
slow or gone costs spans, and never a request.

Sources: the OpenTelemetry specification, trace SDK (IdGenerator, BatchSpanProcessor) and HTTP semantic conventions.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway import __version__
from gateway.wire.record import RequestRecord
from gateway.wire.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

# Seconds for one batch, and for what is left at the end: a drained process does not wait for a collector.
EXPORT_TIMEOUT: Final = 5.0


class Spans:
    """Makes spans of requests that are over, and hands them to ``processor``.

    Args:
        clock: Nanoseconds since the epoch.
        monotonic: Seconds, as records have them.
    """

    def __init__(
        self,
        processor: "SpanProcessor",
        *,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        from opentelemetry import trace as api
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        class GivenIds(IdGenerator):
            """The ids that went to the backend already. One loop makes all spans, one after the other."""

            trace_id = span_id = 0

            def generate_span_id(self) -> int:
                return self.span_id

            def generate_trace_id(self) -> int:
                return self.trace_id

        self._api = api
        self._no_parent = Context()
        self._clock = clock
        self._monotonic = monotonic
        self._ids = GivenIds()
        # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME may say more, and better.
        resource = Resource.create({"service.name": "chatkit-gateway", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("gateway", __version__)

    def note(self, record: RequestRecord, ended: float, ended_by: str) -> None:
        """A request is over. Only one that met a route, in a trace that is recorded, has a span."""
        trace = record.trace
        if trace is None or record.route is None or not trace.is_sampled:
            return
        api = self._api
        # This is told of a request some milliseconds late.
        ended_at = self._clock() - round((self._monotonic() - ended) * 1e9)
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), int(trace.span_id, 16)
        span = self._tracer.start_span(
            f"{record.route} {record.operation or record.method}",
            context=self._parent_of(trace),
            kind=api.SpanKind.SERVER,
            attributes=_attributes(record, ended_by),
            start_time=ended_at - round((ended - record.started) * 1e9),
        )
        if _is_failed(record):
            span.set_status(api.StatusCode.ERROR)
        span.end(ended_at)

    def close(self) -> None:
        """Send what is left, and stop; waits for `EXPORT_TIMEOUT` at most."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(EXPORT_TIMEOUT)

    def _parent_of(self, trace: Trace) -> "Context":
        if trace.parent_id is None:
            return self._no_parent
        api = self._api
        sampled = api.TraceFlags(api.TraceFlags.SAMPLED)
        parent = api.SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, sampled)
        found: Context = api.set_span_in_context(api.NonRecordingSpan(parent), self._no_parent)
        return found


def build_spans(endpoint: str) -> Spans:
    """Spans that go to the collector at ``endpoint``: OTLP over HTTP, in batches."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return Spans(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT)))


def _attributes(record: RequestRecord, ended_by: str) -> dict[str, str | int]:
    known: dict[str, str | int | None] = {
        "http.request.method": record.method,
        "http.response.status_code": record.status,
        "gateway.route": record.route,
        "gateway.operation": record.operation,
        "gateway.ended_by": ended_by,
        "gateway.request_id": record.request_id,
        "error.type": record.failure.code if record.failure else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _is_failed(record: RequestRecord) -> bool:
    """Did we or the backend fail? What the client did wrong is no error of the server's span."""
    return record.failure is not None and record.failure.source != "client"
