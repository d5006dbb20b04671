"""What requests leave behind."""

from typing import Any

import pytest

from gateway.errors import (
    BackendTimeout,
    ClientDisconnected,
    Draining,
    GatewayError,
    MalformedRequest,
    RateLimited,
    SignInEnded,
    TokenInvalid,
)
from gateway.metrics.counters import MAX_SERIES, Counters
from gateway.metrics.reading import Reading
from gateway.workers import SLIP, Board
from tests.gateway.metrics.requests import Answer, note


def written(counters: Counters) -> Reading:
    reading = Reading()
    counters.write(reading)
    return reading


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({}, ("support", "items.list", "2xx", "-", "complete")),
        ({"route": None, "operation": None, "status": 404}, ("-", "-", "4xx", "-", "complete")),
        (
            {"failure": TokenInvalid("no"), "operation": None, "status": 401},
            ("support", "-", "4xx", "token_invalid", "gateway"),
        ),
        ({"failure": BackendTimeout("slow")}, ("support", "items.list", "2xx", "backend_timeout", "backend")),
        (
            {"failure": ClientDisconnected("left"), "status": None},
            ("support", "items.list", "-", "client_disconnected", "client"),
        ),
        ({"failure": SignInEnded("its time")}, ("support", "items.list", "2xx", "sign_in_ended", "token")),
        ({"failure": RateLimited("fast", retry_after=1)}, ("support", "items.list", "2xx", "rate_limited", "limit")),
        ({"failure": Draining("bye")}, ("support", "items.list", "2xx", "draining", "drain")),
    ],
)
def test_a_request_is_counted_by_where_what_and_how_it_ended(given: dict[str, Any], labels: tuple[str, ...]) -> None:
    """One count for each, and the same labels for the same things."""
    counters = Counters()
    note(counters, **given)
    note(counters, **given)

    assert written(counters).counters["gateway_requests_total"] == {labels: 2}


def test_what_never_became_a_request_is_counted_too() -> None:
    """As one that belongs nowhere: somebody who sends nothing but rubbish is seen."""
    counters = Counters()
    counters.note_refusal(MalformedRequest("rubbish"))
    counters.note_refusal(MalformedRequest("more of it"))

    assert written(counters).counters["gateway_requests_total"] == {
        ("-", "-", "4xx", "malformed_request", "gateway"): 2
    }


def test_streams_are_counted_apart_and_limits_again() -> None:
    """Whoever looks at streams need not know which operations stream, nor which codes are limits."""
    counters = Counters()
    note(counters, operation="threads.create", streaming=True)
    note(counters, operation="threads.create", streaming=True, failure=RateLimited("fast", retry_after=1))
    note(counters)
    reading = written(counters)

    assert reading.counters["gateway_streams_total"] == {
        ("support", "threads.create", "-", "complete"): 1,
        ("support", "threads.create", "rate_limited", "limit"): 1,
    }
    assert reading.counters["gateway_limited_total"] == {("support", "rate_limited"): 1}
    assert counters.ended() == {"stream.complete": 1, "stream.limit": 1, "complete": 1}


def test_times_fall_into_buckets_at_both_sides_of_the_edge() -> None:
    """A bucket holds its own bound, as Prometheus' do; what is beyond the last has a place too."""
    counters = Counters()
    for seconds in (0.005, 0.006, 30.0, 31.0):
        note(counters, answer=Answer(), ended=10.0 + seconds, first_byte=None)
    counts, total = written(counters).histograms["gateway_request_duration_seconds"]["support", "items.list"]

    # Binary fractions: 10.005 - 10 is a hair above its bound.
    assert (sum(counts), counts[-1], counts[-2]) == (4, 1, 1)
    assert total == pytest.approx(61.011)


def test_a_stream_has_a_first_byte_a_duration_and_a_longest_gap() -> None:
    """Each in its own histogram; the gap by route alone."""
    counters = Counters()
    note(counters, operation="threads.create", streaming=True, answer=Answer(longest_gap=3.0), ended=14.0)
    found = written(counters).histograms

    assert {name: {labels: total for labels, (_, total) in family.items()} for name, family in found.items()} == {
        "gateway_first_byte_seconds": {("support", "threads.create"): 0.25},
        "gateway_stream_duration_seconds": {("support", "threads.create"): 4.0},
        "gateway_event_gap_seconds": {("support",): 3.0},
    }


@pytest.mark.parametrize(
    ("failure", "answer", "is_timed"),
    [
        (None, Answer(), True),
        (ClientDisconnected("left"), Answer(), True),
        (None, None, False),
        (TokenInvalid("no"), None, False),
        (RateLimited("fast", retry_after=1), None, False),
        (BackendTimeout("slow"), Answer(), False),
    ],
)
def test_only_what_a_backend_answered_is_timed(
    failure: GatewayError | None, answer: Answer | None, is_timed: bool
) -> None:
    """Refusals take a millisecond, failures a time-out: neither says how fast answers are."""
    counters = Counters()
    note(counters, failure=failure, answer=answer)

    assert bool(written(counters).histograms) == is_timed


def test_no_label_is_unbounded() -> None:
    """Whatever comes: unknown names fall into fixed ones, and beyond the bound everything is one series."""
    counters = Counters()
    note(counters, operation="made.up")
    for number in range(MAX_SERIES + 100):
        note(counters, route=f"route_{number}")
    counted = written(counters).counters["gateway_requests_total"]

    assert ("support", "other", "2xx", "-", "complete") in counted
    assert len(counted) == MAX_SERIES + 1
    assert counted["other", "other", "other", "other", "other"] == 101
    assert sum(counted.values()) == MAX_SERIES + 101


def test_the_most_that_is_counted_fits_on_a_workers_slip() -> None:
    """At the bound, with names as long as they get: a worker must not fall silent when it has much to say."""
    counters = Counters()
    for number in range(MAX_SERIES):
        note(
            counters,
            route=f"{number:04}".rjust(63, "r"),
            operation="threads.add_client_tool_output",
            streaming=True,
            answer=Answer(longest_gap=1 / 3),
            ended=10.0 + number / 7,
        )
    slip = {"at": 0, "reasons": [], "metrics": written(counters).to_json()}
    board = Board(1)
    board.post(0, slip)

    assert board.read(0) is not None
    assert len(str(slip)) > SLIP / 8, "this is no longer the worst case"
