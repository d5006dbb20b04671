"""The connections to one address: what `test_client` does not show of them from outside."""

import asyncio
import socket

import pytest

from gateway.backends.client import BackendClient, PoolState
from gateway.errors import BackendUnavailable, InternalError
from tests.faults.backend import until
from tests.faults.process import PATIENCE
from tests.gateway.backends.test_client import fetch
from tests.gateway.backends.world import build_client, build_request, world
from tests.support.scripted import Exchange, json_answer


def state(client: BackendClient) -> tuple[int, int, int]:
    """Open, idle, outstanding."""
    (pool,) = client.pools()
    return pool.open, pool.idle, pool.outstanding


async def test_what_metrics_need_to_know() -> None:
    """A frozen value for the one replica, before, during and after an exchange."""
    finish = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await finish.wait()
        await json_answer()(exchange)

    async with world(script) as (_, client):
        states = [state(client)]
        async with client.exchange(build_request()) as answer:
            states.append(state(client))
            finish.set()
            assert await answer.wait_for_head(2)
            while await answer.read(2):
                pass
        states.append(state(client))

        assert states == [(0, 0, 0), (1, 0, 1), (1, 1, 0)]
        assert client.pools() == [
            PoolState(
                backend="support",
                address="http://agent.test",
                open=1,
                idle=1,
                outstanding=0,
                ejected=False,
                ejections=0,
            )
        ]


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"{}", None), (b"x" * 65536, None), (None, 2), (None, None)],
    ids=["small", "large", "in pieces", "in pieces, length unknown"],
)
async def test_a_request_that_cannot_be_signed_keeps_no_connection(body: bytes | None, length: int | None) -> None:
    """However often it fails, there is a connection for the next."""

    def fail() -> bytes:
        raise RuntimeError("no signature")

    unsigned = build_request()._replace(body=body, length=length, late=(b"signed", fail))
    async with world(json_answer(), max_connections=2) as (_, client):
        for _ in range(3):
            with pytest.raises(InternalError):
                async with client.exchange(unsigned) as answer:
                    await answer.wait_for_head(2)
        assert await until(lambda: state(client)[0] == 0)

        assert (await fetch(client))[0] == 200


async def test_a_request_that_still_connects_is_outstanding() -> None:
    """Otherwise a replica that hangs would look like the least busy one."""
    async with world(json_answer()) as (_, client):
        fetching = asyncio.create_task(fetch(client))
        await asyncio.sleep(0)

        assert state(client) == (0, 0, 1)
        await fetching


async def test_a_retired_pool_closes_what_idles_and_lets_the_rest_finish() -> None:
    """The reload's need: streams go on, their connections are not kept, a late request is still served."""
    finish = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.body == b"slow":
            await finish.wait()
        await json_answer()(exchange)

    async with world(script, keep_alive=600) as (backend, client):
        slow = asyncio.create_task(fetch(client, build_request(b"slow")))
        assert await until(lambda: len(backend.exchanges) == 1)
        await fetch(client)
        assert state(client) == (2, 1, 1)

        client.retire()
        assert await until(lambda: backend.open == 1)
        assert await fetch(client) == (200, b"{}")
        finish.set()
        assert await slow == (200, b"{}")
        assert await until(lambda: backend.open == 0)
        assert await until(lambda: state(client) == (0, 0, 0))


async def test_a_backend_that_closes_as_soon_as_it_is_connected_to() -> None:
    """Nothing has been sent to it, and the error says so by its kind: the request may be tried elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        client = build_client(listener.getsockname()[1])
        for _ in range(5):
            fetching = asyncio.create_task(fetch(client))
            await asyncio.sleep(0)
            # The loop has no turn in between: it sees both at once.
            theirs, _ = listener.accept()
            theirs.close()
            with pytest.raises(BackendUnavailable, match="closed as soon as it stood"):
                await fetching
        assert await until(lambda: state(client) == (0, 0, 0))
