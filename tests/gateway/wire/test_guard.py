"""Ending what nothing else ends."""

import asyncio

import pytest

from gateway.errors import Draining
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.guard import DrainGuard

SCOPE = {"type": "http"}


async def wait_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def nothing() -> dict[str, object]:
    return {}


async def drop(message: object) -> None:
    return


async def test_a_request_under_way_ends_as_draining() -> None:
    """Its cancellation becomes an error like every other, and nobody else's is touched."""
    guard = DrainGuard(wait_for_ever)
    running = asyncio.create_task(guard(SCOPE, nothing, drop))
    await asyncio.sleep(0)
    guard.end_all()

    with pytest.raises(Draining):
        await running


async def test_a_cancellation_of_somebody_else_stays_one() -> None:
    """The server's own deadline, before or together with ours."""
    guard = DrainGuard(wait_for_ever)
    for ours in (False, True):
        running = asyncio.create_task(guard(SCOPE, nothing, drop))
        await asyncio.sleep(0)
        running.cancel()
        if ours:
            guard.end_all()

        with pytest.raises(asyncio.CancelledError):
            await running


async def test_what_has_ended_is_forgotten() -> None:
    """Ending all afterwards cancels nobody."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)

    guard = DrainGuard(answer)
    await guard(SCOPE, nothing, drop)
    guard.end_all()
    await asyncio.sleep(0)
    await DrainGuard(answer)({"type": "lifespan"}, nothing, drop)
