"""Between the agent's run and ChatKit's events: stopping well, and names of our own.

Rules: a run that is no longer wanted is told to stop, and then read to its end, so that nothing is left running behind
it. Items get ids of our making, one per message, whatever the model calls them. A widget is whole or it is not there.
Knows nothing of threads or storage.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

from chatkit.types import (
    AssistantMessageItem,
    ClientToolCallItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    WidgetItem,
)

# Seconds for a stopped run to end by itself. It has nothing left to do but close a socket.
STOP_TIMEOUT = 2.0

T = TypeVar("T")


async def until_cancelled(events: AsyncIterator[T], *, stop: Callable[[], object]) -> AsyncGenerator[T, None]:
    """Give ``events``; when the reader is cancelled, ``stop`` the run and read what is left of it first.

    ChatKit's own merging of streams leaves its tasks running when it is cancelled: the model would go on to its last
    word. So it is never cancelled. Each step is a task of its own, and shielded.
    """
    try:
        while True:
            step = asyncio.ensure_future(anext(events))
            try:
                event = await asyncio.shield(step)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                stop()
                with suppress(TimeoutError):
                    await asyncio.wait_for(drain(step, events), STOP_TIMEOUT)
                raise
            yield event
    finally:
        stop()


async def drain(step: asyncio.Future[T], events: AsyncIterator[T]) -> None:
    """Read a stopped run to its end. How it ends interests nobody any more."""
    await asyncio.wait([step])
    if step.cancelled() or step.exception():
        return
    try:
        async for _ in events:
            pass
    except Exception:  # noqa: S110  it was stopped: any error is the stopping
        pass


async def with_own_ids(
    events: AsyncIterator[ThreadStreamEvent], *, new_id: Callable[[], str]
) -> AsyncIterator[ThreadStreamEvent]:
    """Rename assistant messages and client tool calls, each to one new id.

    Chat-completions models call every message ``__fake_id__``: a second answer would overwrite the first. Some number
    their tool calls anew in each answer: the history would hold two of one name, which they refuse. Call and output are
    one item, so they go on belonging together.
    """
    names: dict[str, str] = {}
    async for event in events:
        match event:
            case ThreadItemAddedEvent(item=AssistantMessageItem() as item):
                names[item.id] = new_id()
                yield event.model_copy(update={"item": item.model_copy(update={"id": names[item.id]})})
            case ThreadItemDoneEvent(item=AssistantMessageItem() as item):
                own = names.pop(item.id, None) or new_id()
                yield event.model_copy(update={"item": item.model_copy(update={"id": own})})
            case ThreadItemDoneEvent(item=ClientToolCallItem() as item):
                own = new_id()
                yield event.model_copy(update={"item": item.model_copy(update={"id": own, "call_id": own})})
            case ThreadItemUpdatedEvent(item_id=name) | ThreadItemRemovedEvent(item_id=name):
                yield event.model_copy(update={"item_id": names.get(name, name)})
            case _:
                yield event


async def without_halves(events: AsyncIterator[ThreadStreamEvent]) -> AsyncIterator[ThreadStreamEvent]:
    """Take back widgets that were begun and never finished.

    A tool that draws a widget bit by bit and fails half-way leaves one on the screen that is in no store: its buttons
    would do nothing. Not messages: what was said is read by now, and stands above the error.
    """
    begun: set[str] = set()
    try:
        async for event in events:
            match event:
                case ThreadItemAddedEvent(item=WidgetItem(id=name)):
                    begun.add(name)
                case ThreadItemDoneEvent(item=WidgetItem(id=name)) | ThreadItemRemovedEvent(item_id=name):
                    begun.discard(name)
            yield event
    except Exception:
        for name in begun:
            yield ThreadItemRemovedEvent(item_id=name)
        raise
    for name in begun:
        yield ThreadItemRemovedEvent(item_id=name)
