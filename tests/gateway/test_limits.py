"""Rates and streams per user, and streams of all: pure, with a clock of the test's own."""

import contextlib
from collections.abc import Iterator

import pytest

from gateway.errors import GatewayBusy, RateLimited, TooManyStreams
from gateway.limits import SWEEP_AT, Allowance, Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock | None = None, *, max_streams: int = 100) -> Limiter:
    return Limiter(max_streams=max_streams, clock=clock or Clock())


def allowance(answers: int = 0, reads: int = 0, *, open_streams: int = 0) -> Allowance:
    return Allowance(per_minute={"answer": answers, "read": reads}, open_streams=open_streams)


def burst(limiter: Limiter, rule: Allowance, user: object = "alice") -> int:
    """How many requests are admitted at this moment."""
    for count in range(10_000):
        try:
            limiter.admit(user, "answer", rule)
        except RateLimited:
            return count
    return 10_000


@pytest.mark.parametrize(("per_minute", "at_once"), [(1, 1), (3, 3), (60, 60), (1200, 1200), (0, 10_000)])
def test_a_minutes_allowance_may_come_at_once(per_minute: int, at_once: int) -> None:
    """And without limit where it is 0."""
    assert burst(limiter(), allowance(per_minute)) == at_once


@pytest.mark.parametrize("per_minute", [1, 4, 7, 60, 600])
def test_in_the_long_run_it_is_what_the_setting_says(per_minute: int) -> None:
    """Somebody who tries every tenth of a second for ten minutes gets ten minutes' worth and one burst."""
    clock = Clock()
    limits, rule = limiter(clock), allowance(per_minute)
    admitted = 0
    for _ in range(6000):
        admitted += burst(limits, rule)
        clock.now += 0.1

    assert 10 * per_minute <= admitted <= 11 * per_minute


def test_what_is_refused_costs_nothing_and_the_time_given_is_true() -> None:
    """Who waits as long as told is admitted; who keeps trying meanwhile is not pushed further away."""
    clock = Clock()
    limits, rule = limiter(clock), allowance(2)
    assert burst(limits, rule) == 2
    for _ in range(50):
        with pytest.raises(RateLimited) as refusal:
            limits.admit("alice", "answer", rule)

    assert (refusal.value.retry_after, refusal.value.message) == (
        30,
        "You are sending requests faster than is allowed here. Try again in 30 seconds.",
    )
    clock.now += 29.9
    assert burst(limits, rule) == 0
    clock.now += 0.1
    assert burst(limits, rule) == 1


def test_users_and_kinds_are_apart() -> None:
    """One person's flood is nobody else's; and reading a thread is possible after too many messages."""
    limits, rule = limiter(), allowance(4, 8)
    assert burst(limits, rule, "alice") == 4

    assert burst(limits, rule, "bob") == 4
    limits.admit("alice", "read", rule)


@contextlib.contextmanager
def place(limits: Limiter, user: str, rule: Allowance) -> Iterator[None]:
    limits.take_place(user, rule)
    try:
        yield
    finally:
        limits.leave_place(user)


def test_streams_of_one_user_and_of_all() -> None:
    """A place is free again when its stream ends, however it ends."""
    limits, rule = limiter(max_streams=3), allowance(open_streams=2)
    with place(limits, "alice", rule), place(limits, "alice", rule):
        with pytest.raises(TooManyStreams), place(limits, "alice", rule):
            pass
        with place(limits, "bob", rule):
            with pytest.raises(GatewayBusy) as refusal, place(limits, "carol", rule):
                pass
            assert (refusal.value.status, refusal.value.retry_after) == (503, 5)
        with pytest.raises(ZeroDivisionError), place(limits, "carol", rule):
            raise ZeroDivisionError
        with place(limits, "carol", rule):
            assert limits.open_streams == 3

    assert repr(limits) == "<Limiter 0 of 3 streams, 0 buckets>"
    with place(limits, "alice", rule), place(limits, "alice", rule):
        pass


def test_empty_buckets_are_forgotten() -> None:
    """A million users of yesterday hold no memory today; those in mid-burst are remembered."""
    clock = Clock()
    limits, rule = limiter(clock), allowance(60)
    for number in range(SWEEP_AT):
        limits.admit(number, "answer", rule)
    clock.now += 10
    assert burst(limits, rule, "alice") == 60

    assert repr(limits) == "<Limiter 0 of 100 streams, 1 buckets>"
    assert burst(limits, rule, "alice") == 0
