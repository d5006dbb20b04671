"""Reading a body within its bounds, and noticing that the client has gone."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.errors import BodyTooLarge, ClientDisconnected, RequestTimeout, TokenInvalid
from gateway.wire.asgi import Message, Receive
from gateway.wire.requests import cancel_on_disconnect, read_body

DISCONNECT: Message = {"type": "http.disconnect"}


def part(body: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def channel(messages: Sequence[Message]) -> Receive:
    """Gives these messages, then nothing any more."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([part(b"12345678", more=False)], b"8"),
        ([part(b"1234"), part(b"5678", more=False)], b"8"),
        ([part(b"1234"), part(b"5678"), part(b"", more=False)], None),
        ([part(b""), part(b"12345678"), {"type": "http.request"}], None),
    ],
)
async def test_a_body_of_exactly_the_limit_is_read(messages: list[Message], length: bytes | None) -> None:
    """Declared or chunked, in one piece or several."""
    headers = [(b"content-length", length)] if length else [(b"transfer-encoding", b"chunked")]

    assert await read_body({"headers": headers}, channel(messages), max_body=8, timeout=1) == b"12345678"


@pytest.mark.parametrize("declared", [b"9", b"999999999999999", b"1" * 5000])
async def test_a_body_declared_too_large_is_refused_unread(declared: bytes) -> None:
    """Nothing is received for it, however long the number is."""

    async def receive() -> Message:
        raise AssertionError("read")

    with pytest.raises(BodyTooLarge):
        await read_body({"headers": [(b"content-length", declared)]}, receive, max_body=8, timeout=1)


async def test_a_body_that_grows_too_large_is_refused_at_once() -> None:
    """Without waiting for its end."""
    with pytest.raises(BodyTooLarge, match="more than 8 bytes"):
        await read_body({"headers": []}, channel([part(b"1234"), part(b"56789")]), max_body=8, timeout=1)


async def test_a_body_that_does_not_come_is_timed_out() -> None:
    """The time is for the whole of it."""
    with pytest.raises(RequestTimeout):
        await read_body({"headers": []}, channel([part(b"1234")]), max_body=8, timeout=0.01)


async def test_a_client_that_leaves_in_the_middle_of_its_body() -> None:
    """Is told from one that is slow."""
    with pytest.raises(ClientDisconnected):
        await read_body({"headers": []}, channel([part(b"1234"), DISCONNECT]), max_body=8, timeout=1)


async def test_a_disconnect_cancels_what_runs_inside() -> None:
    """Within the scope the cancellation is seen; outside it is ClientDisconnected; nothing is left running."""
    before = asyncio.all_tasks()
    seen: list[str] = []

    async def work() -> None:
        with cancel_on_disconnect({}, channel([part(), DISCONNECT])):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    with pytest.raises(ClientDisconnected):
        await work()
    task = asyncio.current_task()
    await asyncio.sleep(0)

    assert (seen, task and task.cancelling(), asyncio.all_tasks()) == (["cancelled"], 0, before)


async def test_what_ends_by_itself_is_left_alone() -> None:
    """No cancellation, and the watcher is gone."""
    before = asyncio.all_tasks()
    with cancel_on_disconnect({}, channel([])):
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_an_error_inside_comes_out_as_it_is() -> None:
    """Not wrapped in a group, not replaced."""
    with pytest.raises(TokenInvalid, match="as it is"), cancel_on_disconnect({}, channel([])):
        raise TokenInvalid("as it is")


async def test_an_error_raised_while_cleaning_up_wins() -> None:
    """What goes wrong on the way out of a cancelled exchange is not hidden."""

    async def work() -> None:
        with cancel_on_disconnect({}, channel([DISCONNECT])):
            try:
                await asyncio.Event().wait()
            finally:
                raise TokenInvalid("on the way out")

    with pytest.raises(TokenInvalid):
        await work()


@pytest.mark.parametrize("also_gone", [False, True])
async def test_a_cancellation_from_outside_stays_one(also_gone: bool) -> None:
    """The server that cancels our task must see it cancelled, even if the client left in the same moment."""
    left = asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return DISCONNECT

    async def work() -> None:
        with cancel_on_disconnect({}, receive):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    if also_gone:
        left.set()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)

    assert (done, task.cancelled()) == ({task}, True)


async def test_a_timeout_around_it_still_works() -> None:
    """Scopes nest: the outer one's cancellation is not taken for the client's."""

    async def work() -> None:
        with cancel_on_disconnect({}, channel([])):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await work()
