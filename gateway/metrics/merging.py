"""Several processes as one.

Rules: what only grows adds up, of those that are gone too; a gauge counts only while its process is there, and is their
sum, or the largest or the smallest, as the catalogue says.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.metrics.catalogue import BY_NAME
from gateway.metrics.reading import Labels, Reading

_ACROSS: Final[Mapping[str, Callable[[list[float]], float]]] = {"sum": sum, "max": max, "min": min}


def merge(readings: Iterable[Reading], *, fresh_since: float) -> Reading:
    """One reading of them all.

    Args:
        fresh_since: Monotonic seconds; the gauges of older ones say nothing about today.
    """
    merged = Reading()
    seen: dict[str, dict[Labels, list[float]]] = {}
    for reading in readings:
        merged.add_counts(reading)
        if reading.at < fresh_since:
            continue
        for name, family in reading.gauges.items():
            for labels, value in family.items():
                seen.setdefault(name, {}).setdefault(labels, []).append(value)
    for name, families in seen.items():
        across = _ACROSS[BY_NAME[name].across]
        for labels, values in families.items():
            merged.set(name, labels, across(values))
    return merged
