"""One process at one moment, as a value that JSON can carry: so a worker shows it to its siblings.

Knows nothing of what the metrics mean; the catalogue does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Labels = tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Reading:
    """Values by metric and labels.

    Attributes:
        at: Monotonic seconds; of the machine, so siblings' can be compared.
        pid: Whose it is.
        counters, gauges: Numbers.
        histograms: Counts of each bucket, and the sum of all values.
    """

    at: float = 0.0
    pid: int = 0
    counters: dict[str, dict[Labels, float]] = field(default_factory=dict)
    gauges: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, tuple[list[int], float]]] = field(default_factory=dict)

    def add(self, name: str, labels: Labels, value: float) -> None:
        """Add to a counter."""
        family = self.counters.setdefault(name, {})
        family[labels] = family.get(labels, 0) + value

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Say what a gauge shows."""
        self.gauges.setdefault(name, {})[labels] = value

    def add_histogram(self, name: str, labels: Labels, counts: Sequence[int], total: float) -> None:
        """Add to a histogram; one that nothing ever fell into stays out."""
        if not any(counts):
            return
        family = self.histograms.setdefault(name, {})
        before, sum_before = family.get(labels, ([0] * len(counts), 0.0))
        family[labels] = ([one + other for one, other in zip(before, counts, strict=True)], sum_before + total)

    def add_counts(self, other: "Reading") -> None:
        """Add all that only ever grows: what somebody else has counted has happened as well."""
        for name, family in other.counters.items():
            for labels, value in family.items():
                self.add(name, labels, value)
        for name, families in other.histograms.items():
            for labels, (counts, total) in families.items():
                self.add_histogram(name, labels, counts, total)

    def to_json(self) -> dict[str, Any]:
        """As lists and tables."""
        return {
            "at": self.at,
            "pid": self.pid,
            "counters": {
                name: [[list(key), value] for key, value in each.items()] for name, each in self.counters.items()
            },
            "gauges": {name: [[list(key), value] for key, value in each.items()] for name, each in self.gauges.items()},
            "histograms": {
                name: [[list(key), counts, total] for key, (counts, total) in each.items()]
                for name, each in self.histograms.items()
            },
        }


def read_json(value: Mapping[str, Any]) -> Reading:
    """The reading that `Reading.to_json` made this of."""
    return Reading(
        at=value["at"],
        pid=value["pid"],
        counters={name: {tuple(key): number for key, number in each} for name, each in value["counters"].items()},
        gauges={name: {tuple(key): number for key, number in each} for name, each in value["gauges"].items()},
        histograms={
            name: {tuple(key): (counts, total) for key, counts, total in each}
            for name, each in value["histograms"].items()
        },
    )
