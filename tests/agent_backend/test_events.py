"""Stopping a run well, and names of our own for what it says."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from itertools import count

import pytest
from chatkit.types import (
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ClientToolCallItem,
    ProgressUpdateEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)

from agent_backend.events import until_cancelled, with_own_ids

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def message(name: str) -> AssistantMessageItem:
    return AssistantMessageItem(id=name, thread_id="thr_1", created_at=NOW, content=[])


def delta(name: str) -> ThreadItemUpdatedEvent:
    return ThreadItemUpdatedEvent(item_id=name, update=AssistantMessageContentPartTextDelta(content_index=0, delta="x"))


async def renamed(events: Iterable[ThreadStreamEvent]) -> list[str]:
    async def source() -> AsyncIterator[ThreadStreamEvent]:
        for event in events:
            yield event

    numbers = count(1)
    found = [event async for event in with_own_ids(source(), new_id=lambda: f"own{next(numbers)}")]
    return [getattr(event, "item_id", None) or event.item.id for event in found if event.type != "progress_update"]  # type: ignore[union-attr]  # only events about items are asked


async def test_each_message_gets_one_id_of_its_own() -> None:
    """Two messages that the model calls the same are two, from their first event to their last."""
    one: list[ThreadStreamEvent] = [
        ThreadItemAddedEvent(item=message("__fake_id__")),
        delta("__fake_id__"),
        ThreadItemDoneEvent(item=message("__fake_id__")),
    ]

    assert await renamed([*one, ProgressUpdateEvent(text="…"), *one]) == ["own1"] * 3 + ["own2"] * 3


async def test_a_message_that_was_never_added_gets_an_id_too() -> None:
    """So does a client tool call, whose id is the model's as well."""
    call = ClientToolCallItem(id="__fake_id__", thread_id="thr_1", created_at=NOW, call_id="c", name="n", arguments={})

    assert await renamed([ThreadItemDoneEvent(item=message("m")), ThreadItemDoneEvent(item=call)]) == ["own1", "own2"]


async def test_a_message_taken_back_is_the_one_that_was_shown() -> None:
    """A guardrail removes by the model's id; the client knows it by ours."""
    events: list[ThreadStreamEvent] = [ThreadItemAddedEvent(item=message("m")), ThreadItemRemovedEvent(item_id="m")]

    assert await renamed(events) == ["own1", "own1"]


class Run:
    """A run that speaks until it is stopped, and then says one thing more."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.ended = False

    async def events(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await self.stopped.wait()
            yield "last"
        finally:
            self.ended = True


async def test_a_cancelled_reader_stops_the_run_and_waits_for_its_end() -> None:
    """Nothing of the run is left behind when the cancellation gets through."""
    run, seen = Run(), []

    async def read() -> None:
        async for event in until_cancelled(run.events(), stop=run.stopped.set):
            seen.append(event)  # noqa: PERF401  what was seen before the cancellation counts

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    assert (seen, run.ended) == (["first"], True)


async def test_a_run_that_fails_fails_its_reader() -> None:
    """An error is passed on, and the run is stopped all the same."""
    run = Run()

    async def failing() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        async for _ in until_cancelled(failing(), stop=run.stopped.set):
            pass

    assert run.stopped.is_set()
