"""Around every stream: whatever happens in it, its reader gets events that make sense.

Rules: any exception becomes exactly one `error` event and a log line; every `error` event carries a `message`, and
offers a retry only where there is a message to retry. A thread that was made and stayed empty is taken back. A turn
that lost its thread ends with a word about it. Knows nothing of models, agents or HTTP.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from chatkit.errors import ErrorCode
from chatkit.types import ErrorEvent, ThreadCreatedEvent, ThreadItemDoneEvent, ThreadStreamEvent

from agent_backend.context import RequestContext
from agent_backend.problems import Problem
from agent_backend.store import Lease

# ChatKit shows its own words for this code, in the user's language; the message is for everybody else.
FAILED = ErrorEvent(
    code=ErrorCode.STREAM_ERROR, message="Something went wrong on our side. Please try again.", allow_retry=True
)
LOST = ErrorEvent(message="This conversation was deleted, or goes on elsewhere.", allow_retry=False)

logger = logging.getLogger(__name__)


async def guarded(
    events: AsyncGenerator[ThreadStreamEvent, None],
    *,
    context: RequestContext,
    lease: Lease,
    brings_message: bool,
    take_back: Callable[[], Awaitable[None]],
) -> AsyncGenerator[ThreadStreamEvent, None]:
    """The events of one turn, and at most one error.

    Args:
        brings_message: the operation itself brings the user's message: before that is stored nothing can be retried.
        take_back: delete the thread if this operation made it, and nothing is in it.
    """
    has_failed, can_retry = False, not brings_message
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, ThreadCreatedEvent):
                    # Nobody has heard of this thread yet: the lease is free.
                    await lease.take(event.thread.id, context)
                can_retry = can_retry or isinstance(event, ThreadItemDoneEvent)
                if isinstance(event, ErrorEvent):
                    has_failed = True
                    yield await told(event, context, lease)
                else:
                    yield event
    except asyncio.CancelledError:
        if not lease.is_lost:
            await take_back()
            raise
        stopped_from_within()
        yield note(LOST, context)
    except Exception as exc:
        logger.exception("a stream failed", extra={"request_id": context.request_id})
        # Asked before a thread is taken back, which takes its lease along.
        event = await told(as_event(exc, can_retry=can_retry), context, lease)
        if not can_retry:
            await suppressed(take_back)
        if not has_failed:
            yield event


async def told(event: ErrorEvent, context: RequestContext, lease: Lease) -> ErrorEvent:
    """The event with its message; or why no answer could be kept at all."""
    if not await lease.is_held():
        return note(LOST, context)
    return note(event if event.message else event.model_copy(update={"message": FAILED.message}), context)


def as_event(exc: Exception, *, can_retry: bool) -> ErrorEvent:
    known = ErrorEvent(message=exc.message) if isinstance(exc, Problem) else FAILED
    return known.model_copy(update={"allow_retry": can_retry})


def note(event: ErrorEvent, context: RequestContext) -> ErrorEvent:
    context.notes["ended_by"] = "error"
    return event


def stopped_from_within() -> None:
    """The lease cancelled this task, and its reader is still there: the cancellation ends here."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def suppressed(work: Callable[[], Awaitable[None]]) -> None:
    """What failed once may fail again; it is logged, and the first failure is the one that is told."""
    try:
        await work()
    except Exception:
        logger.exception("an empty thread could not be taken back")
