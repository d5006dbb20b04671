"""One timer for a connection's life."""

import asyncio
from typing import Any

from gateway.backends.alarm import Alarm


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock the test turns on, and which counts its timers."""

    now = 100.0
    timers = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # passed on as it is
        self.timers += 1
        return super().call_at(when, callback, *args, **options)

    def pass_to(self, at: float) -> None:
        self.now = at
        for _ in range(3):
            self.run_until_complete(asyncio.sleep(0))


def test_to_set_it_later_costs_no_timer() -> None:
    """However often; it rings once, when the last time has come."""
    loop, rung = Loop(), []
    alarm = Alarm(loop)
    for second in range(1000):
        alarm.set(110.0 + second, lambda: rung.append(loop.now))
    loop.pass_to(110.0)
    loop.pass_to(1108.9)
    before = list(rung)
    loop.pass_to(1109.0)
    loop.pass_to(2000.0)
    loop.close()

    assert (before, rung) == ([], [1109.0])
    assert loop.timers <= 3


def test_it_may_be_put_off_while_it_is_set() -> None:
    """By its attribute alone: a stream does that at every event."""
    loop, rung = Loop(), []
    alarm = Alarm(loop)
    alarm.set(110.0, lambda: rung.append(loop.now))
    alarm.at = 120.0
    loop.pass_to(115.0)
    loop.pass_to(120.0)
    loop.close()

    assert rung == [120.0]


def test_to_set_it_sooner_is_heard() -> None:
    """The timer that runs would come too late."""
    loop, rung = Loop(), []
    alarm = Alarm(loop)
    alarm.set(200.0, lambda: rung.append("late"))
    alarm.set(110.0, lambda: rung.append("soon"))
    loop.pass_to(110.0)
    loop.pass_to(300.0)
    loop.close()

    assert rung == ["soon"]


def test_what_was_cleared_does_not_ring() -> None:
    """Nor does what was stopped, which leaves no timer behind either."""
    loop, rung = Loop(), []
    alarm, stopped = Alarm(loop), Alarm(loop)
    alarm.set(110.0, lambda: rung.append("cleared"))
    alarm.clear()
    stopped.set(110.0, lambda: rung.append("stopped"))
    stopped.stop()
    loop.pass_to(200.0)
    alarm.set(210.0, lambda: rung.append("set again"))
    loop.pass_to(210.0)
    alarm.stop()
    loop.close()

    assert rung == ["set again"]
