"""What is made of measurements: medians, ratios, verdicts, tables. Nothing is timed, started or compiled."""

import json

import pytest

from gateway.chatkit.bodies import read_body
from gateway.chatkit.operations import OPERATIONS
from tests.bench.material import build_body
from tests.bench.plot import build_panels
from tests.bench.report import render, render_verdicts
from tests.bench.results import Figures, Measurement, find_faults, ratio, take_medians
from tests.bench.scenarios import WARM_UP, Scenario, plan
from tests.bench.targets import Target, judge

ALL_OF_IT = {"bearer": 1.0, "assertion": 1.0, "user": 1.0, "cookie": 0.0}


def run(scenario: str = "json-64", subject: str = "gateway", /, *, number: int = 1, **figures: float) -> Measurement:
    return Measurement(round=number, subject=subject, scenario=scenario, figures=figures, marks=ALL_OF_IT)


def test_a_figure_is_the_median_over_the_rounds() -> None:
    """One odd round changes nothing; subjects and scenarios are kept apart."""
    rounds = [run(rate=100), run(rate=9000), run(rate=110), run("json-1", rate=7), run("json-64", "nginx", rate=300)]

    assert take_medians(rounds) == {
        ("json-64", "gateway", "rate"): 110,
        ("json-1", "gateway", "rate"): 7,
        ("json-64", "nginx", "rate"): 300,
    }


def test_a_disturbed_round_counts_only_where_all_were() -> None:
    """What other programs did to a run is not the gateway's figure."""
    calm = take_medians([run(rate=10, others=0.9), run(rate=100, others=0.01), run(rate=20, others=1.2)])
    never_calm = take_medians([run(rate=10, others=0.9), run(rate=20, others=1.2)])

    assert calm["json-64", "gateway", "rate"] == 100
    assert never_calm["json-64", "gateway", "rate"] == 15


def test_a_figure_that_one_round_lacks_is_taken_from_the_others() -> None:
    assert take_medians([run(failed=3), run(failed=0, p50=8)]) == {
        ("json-64", "gateway", "failed"): 1.5,
        ("json-64", "gateway", "p50"): 8,
    }


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [(3.0, 2.0, 1.5), (0.0, 2.0, 0.0), (3.0, 0.0, None), (3.0, None, None), (None, 2.0, None)],
)
def test_a_ratio_needs_two_figures(value: float | None, base: float | None, expected: float | None) -> None:
    assert ratio(value, base) == expected


RATE = Target(title="rate", scenario="json-64", figure="rate", limit=0.4, of="haproxy", least=True)
CPU = Target(title="CPU", scenario="json-64", figure="cpu", limit=150)


@pytest.mark.parametrize(
    ("target", "figures", "value", "held"),
    [
        (RATE, {("json-64", "gateway", "rate"): 40.0, ("json-64", "haproxy", "rate"): 100.0}, 0.4, True),
        (RATE, {("json-64", "gateway", "rate"): 39.0, ("json-64", "haproxy", "rate"): 100.0}, 0.39, False),
        (RATE, {("json-64", "gateway", "rate"): 40.0}, None, None),
        (RATE, {("json-64", "haproxy", "rate"): 100.0}, None, None),
        (CPU, {("json-64", "gateway", "cpu"): 150.0}, 150.0, True),
        (CPU, {("json-64", "gateway", "cpu"): 151.0}, 151.0, False),
        (CPU, {}, None, None),
    ],
)
def test_a_target_is_held_missed_or_not_measured(
    target: Target, figures: Figures, value: float | None, held: bool | None
) -> None:
    """A lower bound, an upper one, one that depends on another program, and none without figures."""
    verdict = judge(figures, target)

    assert (verdict.value, verdict.held) == (value, held)


def test_verdicts_say_what_was_wanted_and_what_it_was() -> None:
    figures = {
        ("json-64", "gateway", "rate"): 55.0,
        ("json-64", "haproxy", "rate"): 100.0,
        ("json-64", "gateway", "cpu"): 1234.0,
    }
    nothing = Target(title="soak", scenario="soak", figure="failed", limit=0)

    assert render_verdicts(judge(figures, target) for target in (RATE, CPU, nothing)).splitlines()[2:] == [
        "| rate | ≥ 0.4 × haproxy | 0.55 × haproxy | held |",
        "| CPU | ≤ 150 | 1,234 | **missed** |",
        "| soak | ≤ 0 |  | not measured |",
    ]


def test_work_left_undone_is_a_fault() -> None:
    """A gateway that is fast because it forgot something has not been measured. Others may do as they like."""
    lazy = Measurement(
        round=2, subject="gateway", scenario="ttfb", figures={"failed": 3}, marks={"assertion": 0.5, "cookie": 0.25}
    )
    nginx = Measurement(round=1, subject="nginx", scenario="ttfb", figures={}, marks={"assertion": 0.0, "cookie": 1.0})

    assert find_faults([run(), nginx]) == []
    assert find_faults([lazy]) == [
        "round 2, ttfb: 3 answers failed",
        "round 2, ttfb: 50.00% of requests reached the backend with assertion, expected 100%",
        "round 2, ttfb: 25.00% of requests reached the backend with cookie, expected 0%",
    ]


def test_the_report_compares_with_nothing_at_all_and_with_each_peer() -> None:
    """Ratios to `direct` stand in brackets, those to nginx and haproxy in columns; what was not measured has no row."""
    measurements = [
        run("json-64", name, rate=rate) for name, rate in (("direct", 800), ("nginx", 400), ("gateway", 100))
    ]
    report = render(
        measurements, take_medians(measurements), plan(quick=False), {"direct": "", "nginx": "1.2", "gateway": "3"}
    )

    assert report.splitlines()[:3] == [
        "| load | figure | direct | nginx 1.2 | gateway 3 | gateway : nginx |",
        "| --- | --- | --: | --: | --: | --: |",
        "| JSON, 64 connections | requests/s | 800 (1.00) | 400 (0.50) | 100 (0.12) | 0.25 |",
    ]
    assert "| gateway | 100% | 100% | 100% | 0% |" in report
    assert "open streams, 1 event/s" not in report


def test_the_picture_shows_what_is_added_not_what_is_there_anyway() -> None:
    latencies = {"direct": 20.0, "nginx": 70.0, "gateway": 100.0}
    figures = {("streams-100", name, "p50"): value for name, value in latencies.items()}

    assert [dict(panel.bars) for panel in build_panels(figures)] == [{"nginx": 50.0, "gateway": 80.0}, {}, {}]


@pytest.mark.parametrize("scenario", [*plan(quick=False), *plan(quick=True), WARM_UP], ids=lambda each: each.name)
def test_every_request_is_one_that_the_gateway_understands(scenario: Scenario) -> None:
    """A load of refusals would be measured as a fast one. The wish is in the text, for the backend to find."""
    body = build_body(scenario)
    read = read_body(body, frozenset(OPERATIONS))

    assert read.operation.streaming == (scenario.events > 0)
    assert json.dumps(scenario.wish).strip('"').encode() in body
