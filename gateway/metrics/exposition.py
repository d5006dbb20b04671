"""A reading as text for Prometheus: the one place that knows prometheus_client.

Rules: every metric of the catalogue is announced, whether it has values yet or not; label values come in an order that
does not change from scrape to scrape. What the system knows of a process is read here too, by its number: a worker need
not look into itself twice a second.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import ProcessCollector, metrics_core
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.metrics.catalogue import BY_NAME, METRICS, Metric
from gateway.metrics.merging import merge
from gateway.metrics.reading import Reading


def render(readings: Sequence[Reading], accept: str, *, fresh_since: float) -> tuple[bytes, str]:
    """All processes as one text.

    Args:
        accept: The request's; decides between the text format and OpenMetrics.
        fresh_since: As for `merge`.

    Returns:
        The text, and its content type.
    """
    for reading in readings:
        if reading.pid and reading.at >= fresh_since:
            _write_process(reading)
    encode, content_type = choose_encoder(accept)
    return encode(_Families(merge(readings, fresh_since=fresh_since))), content_type


def _write_process(reading: Reading) -> None:
    for family in ProcessCollector(pid=lambda: reading.pid, registry=None).collect():
        metric = BY_NAME.get(family.name)
        if metric is not None and metric.kind == "gauge":
            reading.set(metric.name, (), family.samples[0].value)


class _Families(Collector):
    """What prometheus_client writes."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[metrics_core.Metric]:
        for metric in METRICS:
            yield self._family(metric)

    def _family(self, metric: Metric) -> metrics_core.Metric:
        reading = self._reading
        if metric.kind == "histogram":
            histogram = metrics_core.HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, (counts, total) in sorted(reading.histograms.get(metric.name, {}).items()):
                histogram.add_metric(labels, list(_cumulate(metric.buckets, counts)), total)
            return histogram
        if metric.kind == "counter":
            counter = metrics_core.CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in sorted(reading.counters.get(metric.name, {}).items()):
                counter.add_metric(labels, value)
            return counter
        gauge = metrics_core.GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in sorted(reading.gauges.get(metric.name, {}).items()):
            gauge.add_metric(labels, value)
        return gauge


def _cumulate(bounds: Sequence[float], counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    """Prometheus' buckets hold all values up to their bound."""
    below = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        below += count
        yield "+Inf" if bound == math.inf else str(bound), below
