"""The dashboard and the alerts, held to what a running gateway exports; and the README's table of metrics."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.chatkit.operations import OPERATIONS
from gateway.metrics.catalogue import METRICS
from gateway.metrics.counters import CODES
from gateway.metrics.reference import render_reference
from tests.deploy.files import DEPLOY, ROOT, document
from tests.deploy.promql import Query, Selector, read_query
from tests.faults.operating import said, scripted
from tests.faults.watched import make_traffic, watched
from tests.support.scrape import Scrape, scrape

MONITORING = DEPLOY / "monitoring"

# What Prometheus adds to each series, and the one series that it makes itself.
ADDED = {"job", "instance"}
OWN = {"up"}

# What a label can be. Names from the settings are the operator's.
VALUES = {
    "status": {"-", "2xx", "3xx", "4xx", "5xx"},
    "code": {"-", "other", *CODES},
    "ended_by": {"complete", "client", "token", "limit", "backend", "gateway", "drain"},
    "limit": {"rate_limited", "too_many_streams", "gateway_busy"},
    "result": {"verified", "remembered", "taken", "failed", "refused", *CODES},
    "state": {"busy", "idle"},
    "operation": {"-", "other", *OPERATIONS},
}


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return loaded


def rules() -> list[dict[str, Any]]:
    (group,) = document(MONITORING / "alerts.yaml")["groups"]
    loaded: list[dict[str, Any]] = group["rules"]
    return loaded


def queries() -> Iterator[tuple[str, str]]:
    """Each with the place where it stands."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "1m")
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert match is not None, variable
            yield f"variable {variable['name']}", f"count by ({match[2]}) ({match[1]})"


QUERIES = {f"{place}: {text[:60]}": read_query(text) for place, text in queries()}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """What a gateway says after some traffic and a reload."""
    return asyncio.run(_scrape_after_traffic(tmp_path_factory.mktemp("watched")))


async def _scrape_after_traffic(folder: Path) -> Scrape:
    with watched(folder) as (gateway, metrics):
        async with scripted(gateway.backend_port, "same") as (script, _):
            await make_traffic(gateway, script, metrics)
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            return scrape(metrics)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_query_is_answered_by_what_a_gateway_exports(scraped: Scrape, query: Query) -> None:
    """Each metric is there with each label that is asked for, and each value can occur."""
    known = ADDED.union(*(_labels(scraped, selector) for selector in query.selectors))

    assert query.selectors
    assert query.labels - known == set()
    for selector in query.selectors:
        assert {matcher.label for matcher in selector.matchers} - _labels(scraped, selector) == set()
        for matcher in selector.matchers:
            if matcher.label in VALUES and not matcher.value.startswith("$"):
                assert set(matcher.alternatives) - VALUES[matcher.label] == set()


def _labels(scraped: Scrape, selector: Selector) -> set[str]:
    if selector.metric in OWN:
        return ADDED
    found = scraped.labels_of(selector.metric)
    assert found, f"no {selector.metric} in a scrape"
    return ADDED.union(*found)


def test_every_metric_can_be_seen_and_is_documented(scraped: Scrape) -> None:
    """After some traffic a scrape has every metric of the catalogue, with just its labels; and the README's table has
    them all."""
    for metric in METRICS:
        name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        assert {tuple(sorted(labels)) for labels in scraped.labels_of(name)} == {tuple(sorted(metric.labels))}, name
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("<!-- metrics -->\n")[2].partition("\n<!-- /metrics -->")[0]

    assert table == render_reference()


def test_every_metric_is_looked_at_somewhere() -> None:
    """What nobody looks at need not be counted; the page of a process' own figures may have more."""
    seen = {selector.metric for query in QUERIES.values() for selector in query.selectors}
    unseen = {
        metric.name
        for metric in METRICS
        if not seen & {metric.name, f"{metric.name}_bucket"} and not metric.name.startswith("process_")
    }

    assert unseen == set()


def test_the_values_that_occur_are_the_ones_we_know(scraped: Scrape) -> None:
    """The table that queries are held to is the code's, not a wish."""
    for sample in scraped.samples:
        for label, value in sample.labels.items():
            assert label not in VALUES or value in VALUES[label], sample


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    """At night the sentence is read before the query. Who is woken is decided by one of two words."""
    names = [rule["alert"] for rule in rules()]

    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert labels <= _kept(read_query(rule["expr"])), rule["alert"]


def _kept(query: Query) -> set[str]:
    """Labels that an alert of this query can have: those it groups by, or else all of its metric's."""
    if query.labels:
        return set(query.labels)
    by_name = {metric.name: set(metric.labels) for metric in METRICS}
    return ADDED.union(*(by_name.get(selector.metric, set()) for selector in query.selectors))


def test_the_dashboards_panels_are_apart_and_have_numbers_of_their_own() -> None:
    """Grafana lays panels over each other without a word."""
    panels = dashboard()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_prometheus_is_told_where_both_are() -> None:
    """The rules by their file's name, the gateways by the job that the rules name."""
    settings = document(MONITORING / "prometheus.yaml")
    jobs = {job["job_name"] for job in settings["scrape_configs"]}
    named = {
        matcher.value
        for rule in rules()
        for selector in read_query(rule["expr"]).selectors
        for matcher in selector.matchers
        if matcher.label == "job"
    }

    assert [(MONITORING / name).is_file() for name in settings["rule_files"]] == [True]
    assert named == jobs
    assert Path(MONITORING / "dashboard.json").is_file()
