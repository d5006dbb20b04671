"""Traces through a running gateway: what the backend is told, what the log says, what a collector gets."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.backend import Visit, listening, until
from tests.faults.operating import log_lines, said
from tests.faults.process import GatewayProcess, serving
from tests.faults.watched import ask
from tests.support.scripted import Exchange, scripted_backend

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{PARENT_ID}-01"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def with_headers(gateway: GatewayProcess, *lines: str) -> bytes:
    extra = "".join(f"{line}\r\n" for line in lines).encode()
    request = gateway.request("json", operation="threads.list", text="mark-body")
    return request.replace(b"Host: gateway\r\n", b"Host: gateway\r\n" + extra)


@contextlib.asynccontextmanager
async def recording(port: int) -> AsyncIterator[list[str]]:
    """A backend; gives the `traceparent` headers that it was sent."""
    seen: list[str] = []

    async def script(visit: Visit) -> None:
        lines = visit.head.decode().split("\r\n")
        seen.extend(line.partition(": ")[2] for line in lines if line.lower().startswith("traceparent:"))
        visit.write(JSON)

    async with listening(port, script):
        yield seen


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["traceparent: nonsense"],
        [f"traceparent: {GIVEN}", f"traceparent: {GIVEN}"],
        [f"traceparent: ff{GIVEN[2:]}"],
    ],
)
async def test_a_backend_always_gets_one_good_traceparent(tmp_path: Path, headers: list[str]) -> None:
    """The client's nonsense does not go on; the log line has the same id."""
    with serving(tmp_path) as gateway:
        async with recording(gateway.backend_port) as seen:
            await ask(gateway, with_headers(gateway, *headers))
            line = await said(gateway, "request")

    (header,) = seen
    version, trace_id, span_id, flags = header.split("-")
    assert (version, len(trace_id), len(span_id), flags) == ("00", 32, 16, "01")
    assert trace_id not in ("0" * 32, TRACE_ID)
    assert line["trace_id"] == trace_id


async def test_a_good_one_goes_on_as_it_came(tmp_path: Path) -> None:
    """Without spans of our own the backend's hang on the caller's."""
    with serving(tmp_path) as gateway:
        async with recording(gateway.backend_port) as seen:
            await ask(gateway, with_headers(gateway, f"traceparent: {GIVEN}"))
            line = await said(gateway, "request")

    assert (seen, line["trace_id"]) == ([GIVEN], TRACE_ID)


async def test_a_collector_gets_a_span_for_each_request(tmp_path: Path) -> None:
    """Over OTLP, the last of them when the gateway drains: between the caller's span and the backend's; with no token,
    no user and no body anywhere in what is sent."""
    sent: list[bytes] = []

    async def collect(exchange: Exchange) -> None:
        sent.append(exchange.body)
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")

    async with scripted_backend(collect) as collector:
        url = f"http://127.0.0.1:{collector.port}/v1/traces"
        server = f'drain_delay = 0\n[tracing]\nendpoint = "{url}"'
        with serving(tmp_path, server=server) as gateway:
            async with recording(gateway.backend_port) as seen:
                await ask(gateway, with_headers(gateway, f"traceparent: {GIVEN}"))
                await ask(gateway, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
                gateway.process.send_signal(signal.SIGTERM)
                assert await until(lambda: gateway.process.poll() is not None)
                assert gateway.process.returncode == 0

    (span,) = [span for body in sent for span in spans_of(body)]
    version, trace_id, ours, flags = seen[0].split("-")
    assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.span_id.hex()) == (TRACE_ID, PARENT_ID, ours)
    assert span.name == "support threads.list"
    everything = b"".join(sent)
    assert not [secret for secret in (b"eyJ", b"mark-", b"alice") if secret in everything]


def spans_of(body: bytes):  # type: ignore[no-untyped-def]  # the library's messages have no types of their own
    request = ExportTraceServiceRequest.FromString(body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


async def test_a_collector_that_is_gone_costs_spans_and_nothing_else(tmp_path: Path) -> None:
    """Requests are answered as ever, and the end comes in time."""
    server = 'drain_delay = 0\n[tracing]\nendpoint = "http://127.0.0.1:9/v1/traces"'
    with serving(tmp_path, server=server) as gateway:
        async with recording(gateway.backend_port):
            answers = await asyncio.gather(*(ask(gateway, with_headers(gateway)) for _ in range(20)))
            gateway.process.send_signal(signal.SIGTERM)
            assert await until(lambda: gateway.process.poll() is not None)

    assert {answer.status for answer in answers} == {200}
    assert gateway.process.returncode == 0
    assert len(log_lines(gateway.log, "stopped")) == 1
