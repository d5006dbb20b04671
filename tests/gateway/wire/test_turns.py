"""When work is done that nobody waits for."""

import asyncio

import pytest

from gateway.wire import turns
from gateway.wire.turns import Lull


class Work:
    """Counts how often it was done."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self) -> None:
        self.done += 1


async def test_work_is_done_in_the_next_lull_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind what the turn of the loop that offers it still has to do."""
    monkeypatch.setattr(turns, "PATIENCE", 3600.0)
    lull, work, order = Lull(), Work(), list[int]()
    lull.ask(work)
    lull.ask(work)
    asyncio.get_running_loop().call_soon(lambda: order.append(work.done))
    lull.offer()
    lull.offer()
    during = work.done
    await asyncio.sleep(0)
    lull.offer()
    await asyncio.sleep(0)

    assert (during, order, work.done) == (0, [0], 1)


async def test_without_a_lull_it_is_done_all_the_same() -> None:
    """After the patience: a timer set later comes later. What is asked for behind it waits anew."""
    lull, first, second = Lull(), Work(), Work()
    lull.ask(first)
    await asyncio.sleep(0)
    at_once = first.done
    await asyncio.sleep(2 * turns.PATIENCE)
    between = first.done
    lull.ask(second)
    await asyncio.sleep(2 * turns.PATIENCE)

    assert (at_once, between, first.done, second.done) == (0, 1, 1, 1)


async def test_a_lull_before_the_time_is_up_leaves_the_timer_to_the_next() -> None:
    lull, work = Lull(), Work()
    lull.ask(work)
    lull.offer()
    await asyncio.sleep(0)
    in_lull = work.done
    lull.ask(work)
    await asyncio.sleep(2 * turns.PATIENCE)

    assert (in_lull, work.done) == (1, 2)


def test_outside_of_a_loop_it_is_done_at_once() -> None:
    lull, work = Lull(), Work()
    lull.ask(work)

    assert work.done == 1


def test_a_loop_that_stopped_before_it_does_not_keep_another_from_it() -> None:
    """Neither by the timer that it had, nor by the lull that was offered in it."""
    lull, work = Lull(), Work()

    async def ask_and_stop() -> None:
        lull.ask(work)
        lull.offer()
        asyncio.get_running_loop().stop()

    async def ask_again() -> None:
        lull.ask(work)
        await asyncio.sleep(2 * turns.PATIENCE)

    loop = asyncio.new_event_loop()
    task = loop.create_task(ask_and_stop())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    before = work.done
    asyncio.run(ask_again())

    assert (task.done(), before, work.done) == (True, 0, 1)
