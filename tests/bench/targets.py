"""What the gateway should reach. Judged and reported; nothing fails because of it: machines differ. Pure."""

import operator
from dataclasses import dataclass

from tests.bench.results import START, Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure of the gateway, and its bound.

    Attributes:
        limit: The bound; in units of the same figure of ``of``, if that is given.
        least: It is a lower bound, not an upper one.
    """

    title: str
    scenario: str
    figure: str
    limit: float
    of: str | None = None
    least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target, judged. ``value`` is in the units of its limit; None, as is ``held``, if it was not measured."""

    target: Target
    value: float | None
    held: bool | None


TARGETS = (
    Target(title="JSON requests/s", scenario="json-64", figure="rate", limit=0.4, of="haproxy", least=True),
    Target(title="CPU per JSON request, µs", scenario="json-64", figure="cpu", limit=150),
    Target(title="CPU per event at 25,000 events/s", scenario="streams-500", figure="cpu", limit=1.5, of="nginx"),
    Target(title="late events at 25,000 events/s", scenario="streams-500", figure="late", limit=0),
    Target(title="event latency p99, 500 streams, µs", scenario="streams-500", figure="p99", limit=5000),
    Target(title="event latency p99, 100 streams, µs", scenario="streams-100", figure="p99", limit=5000),
    Target(title="event latency p50, 100 streams", scenario="streams-100", figure="p50", limit=1.3, of="nginx"),
    Target(title="time to first byte p50", scenario="ttfb", figure="p50", limit=2, of="nginx"),
    Target(title="memory per open stream, 2,000 open, KiB", scenario="open-2000", figure="memory", limit=25),
    Target(title="memory per open stream, 5,000 open, KiB", scenario="open-5000", figure="memory", limit=25),
    Target(title="from start to ready, s", scenario=START, figure="ready", limit=1),
    Target(title="streams open at once in the soak", scenario="soak", figure="open", limit=5000, least=True),
    Target(title="failed or cut short in the soak", scenario="soak", figure="failed", limit=0),
)


def judge(figures: Figures, target: Target, subject: str = "gateway") -> Verdict:
    """Hold a target against what was measured."""
    value = figures.get((target.scenario, subject, target.figure))
    base = figures.get((target.scenario, target.of, target.figure)) if target.of else 1.0
    if value is None or not base:
        return Verdict(target=target, value=None, held=None)
    value /= base
    compare = operator.ge if target.least else operator.le
    return Verdict(target=target, value=value, held=compare(value, target.limit))
