"""What requests leave behind: plain Python numbers, added to once for each request when it is over.

Rules: one look-up and a few additions on the request path, no lock and no library, because all of it runs in one
thread; what it becomes in a scrape is worked out at the scrape. Labels are judged when a series is opened, and there is
a bound on series whatever labels come: beyond it everything falls into one.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from gateway.chatkit.operations import OPERATIONS
from gateway.errors import GatewayError
from gateway.metrics.catalogue import BY_NAME
from gateway.metrics.reading import Reading
from gateway.wire.record import RequestRecord

# A gateway with twenty routes has some three hundred. A worker's slip holds them several times over.
MAX_SERIES: Final = 2000

UNKNOWN: Final = "-"
OTHER: Final = "other"

# What a backend answered at least in part. Refusals take a millisecond and would make every latency look good.
_ANSWERED: Final = frozenset({"complete", "client", "token", "drain"})

_Key = tuple[str | None, str | None, int | None, str | None, str, bool]


class Histogram:
    """How many values fell below each bound.

    Attributes:
        counts: For each bound those above the one before; the last is without bound.
        total: Of all values.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


def _histogram(name: str) -> Histogram:
    return Histogram(BY_NAME[name].buckets)


@dataclass(slots=True)
class _Timings:
    """Of one operation on one route."""

    first_byte: Histogram = field(default_factory=lambda: _histogram("gateway_first_byte_seconds"))
    request: Histogram = field(default_factory=lambda: _histogram("gateway_request_duration_seconds"))
    stream: Histogram = field(default_factory=lambda: _histogram("gateway_stream_duration_seconds"))
    gap: Histogram = field(default_factory=lambda: _histogram("gateway_event_gap_seconds"))


@dataclass(slots=True)
class _Series:
    """Requests that went alike."""

    labels: tuple[str, str, str, str, str]
    streaming: bool
    timings: _Timings
    count: int = 0


class Counters:
    """Counts every request of a process, and what the server refused before it was one.

    Attributes:
        verifications, reloads: By result; whoever does them adds to these.
        ejections: By backend and replica, of clients that have been given up.
    """

    def __init__(self) -> None:
        self.verifications: Counter[str] = Counter()
        self.reloads: Counter[str] = Counter()
        self.ejections: Counter[tuple[str, str]] = Counter()
        self._series: dict[_Key, _Series] = {}
        self._timings: dict[tuple[str, str], _Timings] = {}

    def note(self, record: RequestRecord, ended: float, ended_by: str) -> None:
        """A request is over. ``ended`` is monotonic seconds, as the record's own."""
        failure = record.failure
        code = None if failure is None else failure.code
        key = (record.route, record.operation, record.status, code, ended_by, record.streaming)
        series = self._series.get(key) or self._open(key)
        series.count += 1
        answer = record.answer
        if answer is None or ended_by not in _ANSWERED:
            return
        timings = series.timings
        if record.first_byte is not None:
            timings.first_byte.note(record.first_byte - record.started)
        if not record.streaming:
            timings.request.note(ended - record.started)
            return
        timings.stream.note(ended - record.started)
        if answer.longest_gap >= 0:
            timings.gap.note(answer.longest_gap)

    def note_refusal(self, error: GatewayError) -> None:
        """Something came that was no request, and was refused with ``error``."""
        key = (None, None, error.status, error.code, "gateway", False)
        series = self._series.get(key) or self._open(key)
        series.count += 1

    def ended(self) -> dict[str, int]:
        """How many requests ended how, for one line at the end; streams apart, as ``stream.client``."""
        counted: Counter[str] = Counter()
        for series in self._series.values():
            ended_by = series.labels[4]
            counted[f"stream.{ended_by}" if series.streaming else ended_by] += series.count
        return dict(counted)

    def write(self, reading: Reading) -> None:
        """Add all of it to ``reading``."""
        for series in list(self._series.values()):
            route, operation, _, code, ended_by = series.labels
            reading.add("gateway_requests_total", series.labels, series.count)
            if series.streaming:
                reading.add("gateway_streams_total", (route, operation, code, ended_by), series.count)
            if ended_by == "limit":
                reading.add("gateway_limited_total", (route, code), series.count)
        for (route, operation), timings in self._timings.items():
            labels = (route, operation)
            reading.add_histogram(
                "gateway_first_byte_seconds", labels, timings.first_byte.counts, timings.first_byte.total
            )
            reading.add_histogram(
                "gateway_request_duration_seconds", labels, timings.request.counts, timings.request.total
            )
            reading.add_histogram(
                "gateway_stream_duration_seconds", labels, timings.stream.counts, timings.stream.total
            )
            reading.add_histogram("gateway_event_gap_seconds", (route,), timings.gap.counts, timings.gap.total)
        for result, count in self.verifications.items():
            reading.add("gateway_verifications_total", (result,), count)
        for result, count in self.reloads.items():
            reading.add("gateway_reloads_total", (result,), count)
        for replica, count in self.ejections.items():
            reading.add("gateway_backend_ejections_total", replica, count)

    def _open(self, key: _Key) -> _Series:
        """The series for ``key``: seldom called, so this is where labels are judged."""
        route, operation, status, code, ended_by, streaming = key
        labels = (
            UNKNOWN if route is None else route,
            _known(operation, OPERATIONS),
            UNKNOWN if status is None else f"{status // 100}xx",
            _known(code, CODES),
            ended_by,
        )
        if len(self._series) >= MAX_SERIES:
            # Not kept under this key: nor may the keys grow.
            key, labels = (OTHER, OTHER, None, OTHER, OTHER, streaming), (OTHER, OTHER, OTHER, OTHER, OTHER)
        series = self._series.get(key)
        if series is None:
            timings = self._timings.setdefault(labels[:2], _Timings())
            series = self._series[key] = _Series(labels, streaming, timings)
        return series


def _codes(kind: type[GatewayError]) -> frozenset[str]:
    own = {kind.code} if hasattr(kind, "code") else set()
    return frozenset(own.union(*(_codes(child) for child in kind.__subclasses__())))


CODES: Final = _codes(GatewayError)


def _known(value: str | None, names: Container[str]) -> str:
    if value is None:
        return UNKNOWN
    return value if value in names else OTHER
