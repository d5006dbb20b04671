"""GET /metrics, and nothing else."""

import os
from typing import Any

import pytest

from gateway.metrics.catalogue import BY_NAME, METRICS
from gateway.metrics.counters import Counters
from gateway.metrics.page import MetricsPage
from gateway.metrics.reading import Reading
from gateway.wire.asgi import Message
from tests.gateway.metrics.requests import Answer, note
from tests.gateway.wire.test_answers import Sent
from tests.support.scrape import OPENMETRICS, Scrape, read


def one_reading() -> list[Reading]:
    counters = Counters()
    note(counters, answer=Answer())
    note(counters, operation="threads.create", streaming=True, answer=Answer(longest_gap=0.2), ended=10.5)
    reading = Reading(at=100.0, pid=os.getpid())
    counters.write(reading)
    reading.set("gateway_open_streams", (), 3)
    return [reading]


async def nobody() -> Message:
    raise AssertionError("nobody reads here")


async def ask(*, path: str = "/metrics", method: str = "GET", accept: bytes = b"") -> Sent:
    sent = Sent()
    headers: list[Any] = [(b"accept", accept)] if accept else []
    page = MetricsPage(one_reading, stale=3.0, clock=lambda: 101.0)
    await page({"type": "http", "method": method, "path": path, "headers": headers}, nobody, sent)
    return sent


def scraped(sent: Sent) -> Scrape:
    content_type = dict(sent[0]["headers"])[b"content-type"].decode()
    return read(sent[1]["body"].decode(), content_type)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"", "text/plain; version=0.0.4"),
        (b"*/*", "text/plain; version=0.0.4"),
        (b"text/plain;version=0.0.4", "text/plain; version=0.0.4"),
        (OPENMETRICS.encode(), "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_in_the_format_that_is_asked_for(accept: bytes, content_type: str) -> None:
    """Both are read by Prometheus' own parsers, and say the same."""
    found = scraped(await ask(accept=accept))

    assert found.content_type.startswith(content_type)
    assert found.value("gateway_requests_total", operation="items.list") == 1
    assert found.value("gateway_open_streams") == 3
    assert found.value("gateway_event_gap_seconds_bucket", le="0.25", route="support") == 1
    assert found.value("gateway_event_gap_seconds_bucket", le="0.1", route="support") == 0
    assert found.value("gateway_event_gap_seconds_count") == 1


async def test_every_metric_is_announced_with_its_kind() -> None:
    """Also one without a value yet: a query for it is no spelling mistake."""
    found = scraped(await ask(accept=OPENMETRICS.encode()))

    assert found.types == {metric.name.removesuffix("_total"): metric.kind for metric in METRICS}


async def test_the_system_is_asked_about_the_process() -> None:
    """Memory, files, processor, as every other process' collectors say."""
    found = scraped(await ask())

    assert found.value("process_resident_memory_bytes") > 1_000_000
    assert found.value("process_open_fds") > 2
    assert found.value("process_start_time_seconds") > 1_500_000_000


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/chatkit", "POST", 404), ("/metrics", "POST", 405)]
)
async def test_there_is_nothing_else(path: str, method: str, status: int) -> None:
    """No path of a user's, and nothing to change."""
    sent = await ask(path=path, method=method)

    assert sent[0]["status"] == status


def test_names_follow_prometheus_rules() -> None:
    """Counters end with _total and nothing else does; times and sizes name their unit; no name is there twice."""
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name
