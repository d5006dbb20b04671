"""Results as Markdown: figures of every subject, what reached the backend, the targets. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.results import START, Figures, Measurement, ratio
from tests.bench.scenarios import Kind, Scenario
from tests.bench.targets import TARGETS, Verdict, judge

# Who the gateway is compared with in columns of their own.
PEERS = ("nginx", "haproxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a figure is written: its unit, and digits behind the point."""

    figure: str
    title: str
    digits: int = 0


_P50, _P99 = Line(figure="p50", title="p50, µs"), Line(figure="p99", title="p99, µs")
_LATE, _FAILED = Line(figure="late", title="late events"), Line(figure="failed", title="failed")
_LINES: Mapping[Kind, Sequence[Line]] = {
    "json": (
        Line(figure="rate", title="requests/s"),
        _P50,
        _P99,
        Line(figure="cpu", title="CPU per request, µs"),
        _FAILED,
    ),
    "stream": (
        Line(figure="rate", title="events/s"),
        _P50,
        _P99,
        _LATE,
        Line(figure="cpu", title="CPU per event, µs", digits=1),
        _FAILED,
    ),
    "first byte": (_P50, _P99, _FAILED),
    "open": (Line(figure="memory", title="memory per stream, KiB", digits=1), _P50, _P99, _LATE, _FAILED),
    "soak": (
        Line(figure="open", title="open at once"),
        Line(figure="answers", title="streams read to their end"),
        _P50,
        _P99,
        _LATE,
        _FAILED,
    ),
}
# What the backend saw, and its column's head.
MARKS: Mapping[str, str] = {
    "bearer": "bearer token",
    "assertion": "signed assertion",
    "user": "user in the body",
    "cookie": "cookie leaked",
}


def render(
    measurements: Sequence[Measurement], figures: Figures, plan: Sequence[Scenario], subjects: Mapping[str, str]
) -> str:
    """The whole report in Markdown.

    Args:
        measurements: What ``figures`` are the medians of.
        subjects: Name to version, in the order of the columns.
    """
    return "\n\n".join(
        (
            _figure_table(figures, plan, subjects),
            "In brackets: the ratio to `direct`, the load program and the backend with nothing between them. Times of "
            "streams are from an event's sending to its arrival.",
            "What reached the backend, in % of requests: this is how much of the work each of them does.",
            _mark_table(measurements, subjects),
            "What the gateway should reach:",
            render_verdicts(judge(figures, target) for target in TARGETS),
        )
    )


def render_verdicts(verdicts: Iterable[Verdict]) -> str:
    """The targets as a table."""
    words = {True: "held", False: "**missed**", None: "not measured"}
    rows = []
    for verdict in verdicts:
        target = verdict.target
        unit = f" × {target.of}" if target.of else ""
        value = "" if verdict.value is None else f"{verdict.value:{',.0f' if verdict.value >= 100 else '.3g'}}{unit}"
        bound = f"{'≥' if target.least else '≤'} {target.limit:,g}{unit}"
        rows.append([target.title, bound, value, words[verdict.held]])
    return _table(["target", "wanted", "measured", ""], rows, words=1)


def _figure_table(figures: Figures, plan: Sequence[Scenario], subjects: Mapping[str, str]) -> str:
    peers = [peer for peer in PEERS if peer in subjects and "gateway" in subjects]
    heads = [f"{name} {version}".strip() for name, version in subjects.items()]
    lines = [(scenario.name, scenario.title, line) for scenario in plan for line in _LINES[scenario.kind]]
    lines.append((START, "start", Line(figure="ready", title="seconds until ready", digits=3)))
    rows = []
    for scenario, title, line in lines:
        values = {name: figures.get((scenario, name, line.figure)) for name in subjects}
        if not any(value is not None for value in values.values()) or _is_all_well(line, values.values()):
            continue
        cells = [_cell(value, values.get("direct"), line.digits) for value in values.values()]
        ratios = [_ratio(ratio(values["gateway"], values[peer])) for peer in peers]
        rows.append([title, line.title, *cells, *ratios])
    return _table(["load", "figure", *heads, *(f"gateway : {peer}" for peer in peers)], rows, words=2)


def _is_all_well(line: Line, values: Iterable[float | None]) -> bool:
    """Failures are worth a row where there are any."""
    return line.figure == "failed" and not any(values)


def _mark_table(measurements: Sequence[Measurement], subjects: Mapping[str, str]) -> str:
    rows = []
    for name in subjects:
        runs = [run.marks for run in measurements if run.subject == name and run.marks]
        shares = [sum(marks[mark] for marks in runs) / len(runs) for mark in MARKS] if runs else []
        rows.append([name, *(f"{share:.0%}" for share in shares)])
    return _table(["", *MARKS.values()], rows, words=1)


def _cell(value: float | None, direct: float | None, digits: int) -> str:
    if value is None:
        return ""
    times = ratio(value, direct)
    return f"{value:,.{digits}f}" + (f" ({times:.2f})" if times is not None else "")


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    """Markdown; the first ``words`` columns are words, the others numbers."""
    rule = ["---"] * words + ["--:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
