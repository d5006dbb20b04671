"""Every metric: its name, kind, labels and meaning. A table; nothing else. The README's is held to it by a test.

Labels have few values, and fixed ones: names from the settings, ChatKit's operations, codes of our own errors. What is
not known is ``-``, what would be one too many is ``other``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

# A JSON answer comes from a store in some milliseconds, over a slow backend in seconds; body_timeout is 30.
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# A stream is over in seconds, an agent with tools takes minutes, and at 3600 total_timeout ends it.
STREAM_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 900.0, 3600.0)

# People wait for the first word: under a second is good, at 15 heartbeats begin, at 120 first_byte_timeout ends it.
FIRST_BYTE_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)

# Words follow each other in tens of milliseconds, a tool call takes seconds, at 120 idle_timeout ends it.
GAP_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As it is exported; a counter's ends with ``_total``.
        labels: Their names, in the order of the values.
        across: What a gauge of several workers is: their sum, or the largest or smallest of them.
        buckets: Upper ends, of a histogram; one without end comes after them.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    across: Literal["sum", "max", "min"] = "sum"
    buckets: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind="counter", help=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str, across: Literal["sum", "max", "min"] = "sum") -> Metric:
    return Metric(name=name, kind="gauge", help=meaning, labels=labels, across=across)


def _histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name=name, kind="histogram", help=meaning, labels=labels, buckets=buckets)


METRICS: Final[Sequence[Metric]] = (
    _counter(
        "gateway_requests_total",
        "Requests that are over, and what was no valid request, by status class, error code and who ended them.",
        *("route", "operation", "status", "code", "ended_by"),
    ),
    _counter(
        "gateway_streams_total",
        "Streaming operations that are over, refused ones too.",
        *("route", "operation", "code", "ended_by"),
    ),
    _counter("gateway_limited_total", "Requests refused by a limit, by its error code.", "route", "limit"),
    _histogram(
        "gateway_first_byte_seconds",
        "From a request's head to the first byte of its answer that is no heartbeat; of what a backend answered.",
        *("route", "operation"),
        buckets=FIRST_BYTE_BUCKETS,
    ),
    _histogram(
        "gateway_event_gap_seconds",
        "The longest silence of a backend within a stream, one value for each stream.",
        "route",
        buckets=GAP_BUCKETS,
    ),
    _histogram(
        "gateway_request_duration_seconds",
        "From a request's head to the end of its answer, of what a backend answered and was no stream.",
        *("route", "operation"),
        buckets=REQUEST_BUCKETS,
    ),
    _histogram(
        "gateway_stream_duration_seconds",
        "From a request's head to the end of its stream.",
        *("route", "operation"),
        buckets=STREAM_BUCKETS,
    ),
    _gauge("gateway_open_streams", "Streams being given right now."),
    _gauge("gateway_max_streams", "Streams that are taken at once (server.max_streams, for each worker)."),
    _counter(
        "gateway_verifications_total",
        "Tokens looked at: verified, remembered from an earlier request, or the code of the refusal.",
        "result",
    ),
    _gauge("gateway_remembered_tokens", "Verified tokens in memory."),
    _gauge("gateway_max_remembered_tokens", "Verified tokens that memory holds (server.verified_tokens)."),
    _gauge("gateway_key_age_seconds", "Since an issuer's keys were last fetched well.", "issuer", across="max"),
    _gauge("gateway_keys_usable", "1 while an issuer's users can be verified.", "issuer", across="min"),
    _counter("gateway_key_fetches_total", "Fetches of an issuer's keys: taken or failed.", "issuer", "result"),
    _gauge("gateway_backend_connections", "Connections to a backend: busy or idle.", "backend", "replica", "state"),
    _gauge("gateway_backend_exchanges", "Requests under way at a backend.", "backend", "replica"),
    _gauge("gateway_backend_ejected", "1 while a replica gets no requests.", "backend", "replica", across="max"),
    _counter("gateway_backend_ejections_total", "How often a replica was ejected.", "backend", "replica"),
    _counter("gateway_reloads_total", "Reloads of the settings: taken or refused; each worker counts.", "result"),
    _gauge("gateway_reload_successful", "0 while the last reload of the settings was refused.", across="min"),
    _gauge("gateway_ready", "1 while new requests are wanted: keys are there and nothing drains.", across="min"),
    _gauge("gateway_workers", "Worker processes that serve."),
    _gauge("gateway_build_info", "1, by version.", "version", "python", across="max"),
    _counter("process_cpu_seconds_total", "Processor time of all workers, in seconds."),
    _gauge("process_resident_memory_bytes", "Resident memory of all workers; what they share counts for each."),
    _gauge("process_virtual_memory_bytes", "Virtual memory of all workers."),
    _gauge("process_start_time_seconds", "When the oldest worker began, since the epoch.", across="min"),
    _gauge("process_open_fds", "Open files and sockets of all workers."),
    _gauge("process_max_fds", "Open files and sockets that a worker may have.", across="min"),
)

BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
