"""Measurements, and their medians over the rounds. Pure.

A figure is known by scenario, subject and name. Names: ``rate`` (per second), ``p50`` and ``p99`` (µs), ``cpu`` (µs per
request or event), ``memory`` (KiB per stream), ``ready`` (seconds), ``others`` (processors kept busy by programs that
are none of ours), and counts: ``late``, ``failed``, ``open``, ``answers``.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Figures = Mapping[tuple[str, str, str], float]

# Processors. Runs during which more were busy with other programs do not count where there are calmer ones.
DISTURBED = 0.15

# The scenario that `ready` belongs to: every run begins with it.
START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run showed.

    Attributes:
        marks: The share of requests that reached the backend with a ``bearer`` token, an ``assertion``, the ``user`` in
            the body, a ``cookie``.
    """

    round: int
    subject: str
    scenario: str
    figures: Mapping[str, float]
    marks: Mapping[str, float]


def take_medians(measurements: Iterable[Measurement]) -> Figures:
    """Each figure's median over the rounds, those left out in which other programs were too busy."""
    runs: dict[tuple[str, str], list[Mapping[str, float]]] = defaultdict(list)
    for measurement in measurements:
        runs[measurement.scenario, measurement.subject].append(measurement.figures)
    medians = {}
    for (scenario, subject), each in runs.items():
        counting = [figures for figures in each if not is_disturbed(figures)] or each
        for name in {name for figures in counting for name in figures}:
            values = [figures[name] for figures in counting if name in figures]
            medians[scenario, subject, name] = statistics.median(values)
    return medians


def is_disturbed(figures: Mapping[str, float]) -> bool:
    """Whether other programs were too busy during the run that these are from."""
    return figures.get("others", 0.0) > DISTURBED


def ratio(value: float | None, base: float | None) -> float | None:
    """``value`` in units of ``base``; None where there is none, or nothing to compare with."""
    return value / base if value is not None and base else None


def find_faults(measurements: Iterable[Measurement], subject: str = "gateway") -> list[str]:
    """Where ``subject`` failed, or did not do all of its work: then its other figures mean nothing."""
    faults = []
    for run in measurements:
        if run.subject != subject:
            continue
        place = f"round {run.round}, {run.scenario}"
        if run.figures.get("failed"):
            faults.append(f"{place}: {run.figures['failed']:.0f} answers failed")
        for mark, share in run.marks.items():
            wanted = 0 if mark == "cookie" else 1
            if share != wanted:
                faults.append(
                    f"{place}: {share:.2%} of requests reached the backend with {mark}, expected {wanted:.0%}"
                )
    return faults
