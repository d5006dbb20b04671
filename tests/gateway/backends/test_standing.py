"""Is one replica fit? Failures in a row, the time out, the one request that tries it."""

import asyncio

import pytest

from gateway.backends.alarm import Alarm
from gateway.backends.answer import Answer
from gateway.backends.connection import Connection
from gateway.backends.standing import Standing, judge_exchange
from gateway.errors import (
    BackendBusy,
    BackendError,
    BackendInterrupted,
    BackendInvalid,
    BackendTimeout,
    BackendUnavailable,
    ClientDisconnected,
    Draining,
    SignInEnded,
)
from gateway.outbox import Outbox


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def build_standing(clock: Clock) -> Standing:
    return Standing(eject_after=3, eject_for=10, clock=clock)


def eject(standing: Standing) -> None:
    for _ in range(3):
        standing.note_failure()
    assert standing.is_ejected


def test_the_failure_that_is_one_too_many_ejects() -> None:
    """Not one before; and it says so once."""
    standing = build_standing(Clock())

    assert [standing.note_failure() for _ in range(4)] == [False, False, True, False]
    assert (standing.is_ejected, standing.is_fit, standing.ejections) == (True, False, 1)


def test_failures_with_an_answer_between_them_do_not_add_up() -> None:
    """In a row means in a row."""
    standing = build_standing(Clock())
    for _ in range(5):
        standing.note_failure()
        standing.note_failure()
        assert not standing.note_answer()

    assert (standing.is_ejected, standing.is_fit) == (False, True)


def test_it_may_be_tried_when_its_time_is_over_and_not_before() -> None:
    """Both sides of the edge."""
    clock = Clock()
    standing = build_standing(clock)
    eject(standing)

    clock.now += 9.999
    assert not standing.is_fit
    clock.now += 0.001
    assert (standing.is_fit, standing.is_ejected) == (True, True)


def test_one_request_tries_it_and_the_others_go_elsewhere() -> None:
    """Until it is answered, or the time is over once more: a try that never ends keeps nobody from the next."""
    clock = Clock()
    standing = build_standing(clock)
    eject(standing)
    clock.now += 10

    standing.note_request()
    assert not standing.is_fit
    clock.now += 10
    assert standing.is_fit


def test_an_answer_brings_it_back_at_once() -> None:
    """And says so once; its failures are forgotten."""
    standing = build_standing(Clock())
    eject(standing)

    assert [standing.note_answer(), standing.note_answer()] == [True, False]
    assert (standing.is_ejected, standing.is_fit) == (False, True)
    assert [standing.note_failure(), standing.note_failure(), standing.note_failure()] == [False, False, True]
    assert standing.ejections == 2


def test_a_failed_try_leaves_it_out_for_as_long_again() -> None:
    """Counted from when it was tried."""
    clock = Clock()
    standing = build_standing(clock)
    eject(standing)
    clock.now += 10
    standing.note_request()
    clock.now += 4

    assert not standing.note_failure()
    assert (standing.is_fit, standing.ejections) == (False, 1)
    clock.now += 6
    assert standing.is_fit


@pytest.mark.parametrize(
    ("status", "failure", "reason", "verdict"),
    [
        (200, None, None, None),
        (401, None, None, None),
        (500, None, None, None),
        (502, None, None, "answered 502"),
        (503, None, BackendBusy("answered 503"), "answered 503"),
        (504, None, None, "answered 504"),
        (200, BackendInterrupted("died"), None, "died"),
        (200, BackendInvalid("nonsense"), BackendInvalid("nonsense"), "nonsense"),
        (200, BackendTimeout("total_timeout"), None, None),
        (200, SignInEnded("expired"), None, None),
        (200, Draining("bye"), None, None),
        (200, None, asyncio.CancelledError(), None),
        (0, BackendInterrupted("died"), BackendInterrupted("died"), "died"),
        (0, BackendInvalid("nonsense"), None, "nonsense"),
        (0, None, BackendTimeout("no answer"), "no answer"),
        (0, None, None, "no answer in time"),
        (0, Draining("bye"), None, None),
        (0, None, ClientDisconnected("left"), None),
        (0, None, asyncio.CancelledError(), None),
        (0, None, RuntimeError("a bug of ours"), None),
    ],
)
async def test_what_an_exchange_says_of_its_replica(
    status: int, failure: BackendError | None, reason: BaseException | None, verdict: str | None
) -> None:
    """Its deaths, its nonsense, its silence and its own word; neither a bug that came with a request nor who left."""
    nothing = Connection(on_free=lambda _: None, on_lost=lambda _: None, outbox=Outbox())
    answer = Answer(nothing, loop := asyncio.get_running_loop(), Alarm(loop))
    if status:
        answer.put_head(status, [])
    if failure is not None:
        answer.fail(failure)
    found = judge_exchange(answer, reason)

    assert (str(found) if found else None) == verdict


def test_a_refused_connection_is_a_backends_error() -> None:
    """What `judge_exchange` never sees, because there was no exchange, counts by the same measure."""
    assert issubclass(BackendUnavailable, BackendError)
