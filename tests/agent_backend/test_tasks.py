"""Work that is finished once it was begun."""

import asyncio

import pytest

from agent_backend.tasks import to_the_end


async def test_a_cancellation_waits_for_the_work() -> None:
    """However often it comes; and then it is passed on."""
    steps: list[str] = []
    go = asyncio.Event()

    async def work() -> None:
        steps.append("begun")
        await go.wait()
        steps.append("done")

    caller = asyncio.create_task(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert steps == ["begun", "done"]


async def test_what_came_of_it_is_given() -> None:
    """Its result, or its exception."""

    async def work(number: int) -> int:
        return 10 // number

    assert await to_the_end(work(5)) == 2
    with pytest.raises(ZeroDivisionError):
        await to_the_end(work(0))


async def test_a_failure_behind_a_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would hear of it."""
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise OSError("disk full")

    caller = asyncio.create_task(to_the_end(work()))
    await asyncio.sleep(0)
    caller.cancel()
    go.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [record.message for record in caplog.records] == ["work failed behind a cancelled request"]
