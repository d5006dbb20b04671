"""Several processes as one."""

import json

from gateway.metrics.merging import merge
from gateway.metrics.reading import Reading, read_json


def reading(at: float, *, count: int, streams: int = 0, ready: int = 1, age: float = 0.0) -> Reading:
    made = Reading(at=at, pid=int(at))
    made.add("gateway_limited_total", ("support", "rate_limited"), count)
    made.add_histogram("gateway_event_gap_seconds", ("support",), [count, 0, 1], count / 2)
    made.set("gateway_open_streams", (), streams)
    made.set("gateway_ready", (), ready)
    made.set("gateway_key_age_seconds", ("main",), age)
    return made


def test_counts_add_up_and_gauges_are_sum_least_or_most() -> None:
    """Streams add up; ready is who all of them are; the oldest keys are the ones to worry about."""
    merged = merge(
        [reading(10, count=2, streams=3, age=7), reading(11, count=4, streams=5, ready=0, age=60)], fresh_since=8
    )

    assert merged.counters == {"gateway_limited_total": {("support", "rate_limited"): 6}}
    assert merged.histograms == {"gateway_event_gap_seconds": {("support",): ([6, 0, 2], 3.0)}}
    assert merged.gauges == {
        "gateway_open_streams": {(): 8},
        "gateway_ready": {(): 0},
        "gateway_key_age_seconds": {("main",): 60},
    }


def test_of_a_process_that_is_gone_only_what_it_counted_stays() -> None:
    """What happened has happened; its streams are nobody's any more."""
    merged = merge([reading(3, count=2, streams=3), reading(10, count=4, streams=5)], fresh_since=8)

    assert merged.counters["gateway_limited_total"] == {("support", "rate_limited"): 6}
    assert merged.gauges["gateway_open_streams"] == {(): 5}


def test_who_takes_a_place_goes_on_from_what_was_counted_there() -> None:
    """Nothing twice and nothing lost: its counts are the predecessor's and its own; the gauges are its own alone."""
    successor = Reading(at=20)
    successor.add_counts(reading(10, count=2, streams=3))
    successor.add("gateway_limited_total", ("support", "rate_limited"), 1)

    assert successor.counters["gateway_limited_total"] == {("support", "rate_limited"): 3}
    assert successor.gauges == {}


def test_a_reading_survives_the_way_over_json() -> None:
    """As it lies on the board."""
    made = reading(10, count=2, streams=3)

    assert read_json(json.loads(json.dumps(made.to_json()))) == made
