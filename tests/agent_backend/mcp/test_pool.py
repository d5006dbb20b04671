"""The pool: nobody gets another's connection, there are never more than so many, and idle ones go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from agent_backend.context import RequestContext
from agent_backend.mcp.choice import ServerChoice
from agent_backend.mcp.failures import ServerUnavailable
from agent_backend.mcp.pool import ConnectionPool, Lease
from tests.agent_backend.mcp.world import TOKENS, choice_of, context_of, nothing_left, tool_server, until
from tests.support.servers import free_port


@contextlib.asynccontextmanager
async def pool_of(
    choice: ServerChoice, *, clock: Callable[[], float] = lambda: 1000.0
) -> AsyncIterator[ConnectionPool]:
    """A pool; when it is closed, nothing is left."""
    with nothing_left():
        pool = ConnectionPool(choice, clock=clock)
        try:
            yield pool
        finally:
            await pool.aclose()


async def who(lease: Lease) -> str:
    result = await lease.connection.call("whoami", {}, None)
    return str(result.model_dump()["content"][0]["text"])


async def use(pool: ConnectionPool, context: RequestContext) -> str:
    """One turn."""
    lease = await pool.lease(context)
    try:
        return await who(lease)
    finally:
        pool.release(lease)


async def test_a_users_next_turn_finds_the_connection_open() -> None:
    """Hands are shaken once."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            assert [await use(pool, context_of("alice")) for _ in range(3)] == ["alice"] * 3
            assert server.opened == 1
            assert repr(pool) == "<ConnectionPool orders 0 busy, 1 idle>"
        await until(lambda: server.sockets == 0)


@pytest.mark.parametrize(
    "other",
    [
        context_of("bob"),
        context_of("alice", token="another-token-of-alice"),
        context_of("alice", tenant="elsewhere"),
        context_of("alice", token=None),
    ],
    ids=["user", "token", "tenant", "no token"],
)
async def test_nobody_gets_anothers_connection(other: RequestContext) -> None:
    """Not even the same user's, opened with another token or for another tenant."""
    with tool_server(guarded=False) as server:
        async with pool_of(choice_of(server, identity="meta", meta={"user": "user_id"})) as pool:
            first = await pool.lease(context_of("alice"))
            pool.release(first)
            second = await pool.lease(other)
            pool.release(second)

            assert second.connection is not first.connection
            assert server.opened == 2


async def test_users_at_once_do_not_mix() -> None:
    """Each call is made with its own user's token, whoever else is calling."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            names = ["alice", "bob"] * 10
            assert await asyncio.gather(*[use(pool, context_of(name)) for name in names]) == names


async def test_two_turns_of_one_user_do_not_wait_for_each_other() -> None:
    """A slow tool in one conversation holds up no other."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            first = await pool.lease(context_of("alice"))
            slow = asyncio.create_task(first.connection.call("slow", {}, None))
            await asyncio.to_thread(server.begun.wait, 10)

            assert await use(pool, context_of("alice")) == "alice"
            assert not slow.done()
            server.hold.set()
            await slow
            pool.release(first)
            assert repr(pool) == "<ConnectionPool orders 0 busy, 2 idle>"


async def test_a_new_token_closes_what_the_old_one_left() -> None:
    """A refreshed session leaves no connection with the old token open."""
    with tool_server() as server:
        server.tokens["alice-refreshed-0a1b2c"] = "alice"
        async with pool_of(choice_of(server)) as pool:
            await use(pool, context_of("alice"))
            await use(pool, context_of("bob"))
            await use(pool, context_of("alice", token="alice-refreshed-0a1b2c"))

            assert repr(pool) == "<ConnectionPool orders 0 busy, 2 idle>"
            await until(lambda: server.sockets == 2)


async def test_an_idle_connection_goes_in_time() -> None:
    """It is closed at the server too, without anybody's asking."""
    with tool_server(era="handshake") as server:
        async with pool_of(choice_of(server, idle_timeout=0.05)) as pool:
            await use(pool, context_of("alice"))
            await until(lambda: (server.sockets, server.sessions) == (0, 0))

            assert repr(pool) == "<ConnectionPool orders 0 busy, 0 idle>"
            assert await use(pool, context_of("alice")) == "alice"


async def test_beyond_the_bound_the_longest_idle_goes() -> None:
    """Never a busy one."""
    with tool_server() as server:
        server.tokens["token-of-carol-91d2aa"] = "carol"
        async with pool_of(choice_of(server, max_connections=2)) as pool:
            busy = await pool.lease(context_of("alice"))
            await use(pool, context_of("bob"))
            await use(pool, context_of("carol", token="token-of-carol-91d2aa"))

            assert repr(pool) == "<ConnectionPool orders 1 busy, 1 idle>"
            await until(lambda: server.sockets == 2)
            assert await who(busy) == "alice"
            opened = server.opened
            await use(pool, context_of("carol", token="token-of-carol-91d2aa"))
            assert server.opened == opened
            pool.release(busy)


async def test_who_comes_when_all_are_busy_waits_for_one() -> None:
    """For a limited time; then the answer goes on without, and nothing is lost for good."""
    with tool_server() as server:
        async with pool_of(choice_of(server, max_connections=1, connect_timeout=0.2)) as pool:
            busy = await pool.lease(context_of("alice"))
            with pytest.raises(ServerUnavailable, match="all 1 connections are busy"):
                await pool.lease(context_of("bob"))

            waiting = asyncio.create_task(use(pool, context_of("bob")))
            await asyncio.sleep(0)
            pool.release(busy)
            assert await waiting == "bob"


async def test_a_turn_that_is_cancelled_while_connecting_leaves_nothing() -> None:
    """Neither its place nor its half-open connection: it is not opened to its end first."""
    with tool_server() as server:
        async with pool_of(choice_of(server, max_connections=1, connect_timeout=60)) as pool:
            server.stuck.set()
            leasing = asyncio.create_task(pool.lease(context_of("alice")))
            await until(lambda: server.sockets == 1)
            leasing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leasing
            await until(lambda: server.sockets == 0)
            server.stuck.clear()

            assert await use(pool, context_of("alice")) == "alice"


async def test_what_is_given_back_twice_is_there_once() -> None:
    """Else two turns could come to share it."""
    with tool_server() as server:
        async with pool_of(choice_of(server, max_connections=1, connect_timeout=0.1)) as pool:
            lease = await pool.lease(context_of("alice"))
            pool.release(lease)
            pool.release(lease)

            assert repr(pool) == "<ConnectionPool orders 0 busy, 1 idle>"
            lease = await pool.lease(context_of("alice"))
            with pytest.raises(ServerUnavailable, match="busy"):
                await pool.lease(context_of("alice"))
            pool.release(lease)


async def test_a_broken_connection_is_not_kept() -> None:
    """A call was cancelled in it: the next turn starts afresh."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            lease = await pool.lease(context_of("alice"))
            calling = asyncio.create_task(lease.connection.call("slow", {}, None))
            await asyncio.to_thread(server.begun.wait, 10)
            calling.cancel()
            await asyncio.wait([calling])
            pool.release(lease)

            assert repr(pool) == "<ConnectionPool orders 0 busy, 0 idle>"
            await until(lambda: server.sockets == 0)
            assert await use(pool, context_of("alice")) == "alice"


async def test_a_server_that_is_down_is_left_alone_for_a_while() -> None:
    """One answer waits for it; those of the next seconds do not."""
    now = [1000.0]
    port = free_port()
    choice = ServerChoice(name="orders", url=f"http://127.0.0.1:{port}/mcp", retry_after=5.0)
    async with pool_of(choice, clock=lambda: now[0]) as pool:
        with pytest.raises(ServerUnavailable, match="could not be reached"):
            await pool.lease(context_of("alice"))
        now[0] += 4.9
        with pytest.raises(ServerUnavailable, match=r"did not answer less than 5 s ago"):
            await pool.lease(context_of("bob"))
        now[0] += 0.2
        with pytest.raises(ServerUnavailable, match="could not be reached"):
            await pool.lease(context_of("bob"))


async def test_one_users_wrong_token_is_no_fault_of_the_server() -> None:
    """The next user is served at once."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            with pytest.raises(ServerUnavailable, match="refused the user: 401"):
                await pool.lease(context_of("alice", token="expired"))

            assert await use(pool, context_of("bob")) == "bob"


@pytest.mark.parametrize("identity", ["header", "meta", "arguments", "prompt"])
async def test_without_a_token_no_connection_that_needs_one(identity: str) -> None:
    """The operator learns which setting of the gateway is missing."""
    async with pool_of(ServerChoice(name="o", url="http://127.0.0.1:1/mcp", identity=identity)) as pool:  # type: ignore[arg-type]
        with pytest.raises(ServerUnavailable, match="set forward_token = true"):
            await pool.lease(context_of("alice", token=None))


async def test_a_server_that_wants_no_token_gets_none() -> None:
    """An id alone can travel without."""
    with tool_server(guarded=False) as server:
        choice = choice_of(server, identity="arguments", arguments={"user_id": "user_id"})
        async with pool_of(choice) as pool:
            pool.release(await pool.lease(context_of("alice", token=None)))


async def test_closing_takes_busy_ones_too() -> None:
    """At shutdown; a turn that gives its connection back later does no harm."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            lease = await pool.lease(context_of("alice"))
            await pool.aclose()
            await until(lambda: server.sockets == 0)
            pool.release(lease)

            assert repr(pool) == "<ConnectionPool orders 0 busy, 0 idle>"


async def test_closing_takes_what_is_just_being_opened() -> None:
    """At shutdown nobody waits for a server that does not answer."""
    with tool_server() as server:
        async with pool_of(choice_of(server, connect_timeout=60)) as pool:
            server.stuck.set()
            leasing = asyncio.create_task(pool.lease(context_of("alice")))
            await until(lambda: server.sockets == 1)
            await pool.aclose()

            with pytest.raises(ServerUnavailable, match="closed while it was being opened"):
                await leasing


async def test_a_lease_given_back_while_it_is_renewed_keeps_nothing_open() -> None:
    """The turn was cancelled meanwhile: nobody is there to use the new connection."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            lease = await pool.lease(context_of("alice"))
            server.stuck.set()
            renewing = asyncio.create_task(pool.renew(lease))
            await asyncio.sleep(0)
            pool.release(lease)
            server.stuck.clear()
            await renewing

            assert lease.connection.is_broken
            assert repr(pool) == "<ConnectionPool orders 0 busy, 0 idle>"
            with pytest.raises(ServerUnavailable, match="the turn is over"):
                await pool.renew(lease)


async def test_a_turn_that_is_cancelled_while_tools_are_listed_again_leaves_nothing() -> None:
    """It had taken the connection from the idle ones, and gives back its place."""
    with tool_server() as server:
        async with pool_of(choice_of(server, max_connections=1)) as pool:
            lease = await pool.lease(context_of("alice"))
            lease.connection.forget_tools()
            pool.release(lease)
            server.stuck.set()
            leasing = asyncio.create_task(pool.lease(context_of("alice")))
            await asyncio.sleep(0)
            leasing.cancel()
            await asyncio.wait([leasing])
            server.stuck.clear()

            assert lease.connection.is_broken
            assert await use(pool, context_of("alice")) == "alice"


async def test_a_connection_that_lost_its_tools_is_replaced() -> None:
    """The server said they had changed, and now cannot be asked: a new connection asks afresh."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            first = await pool.lease(context_of("alice"))
            first.connection.forget_tools()
            pool.release(first)
            server.tokens = {}
            server.tokens[TOKENS["bob"]] = "bob"
            with pytest.raises(ServerUnavailable, match="refused the user"):
                await pool.lease(context_of("alice"))
            assert await use(pool, context_of("bob")) == "bob"


async def test_a_lease_does_not_tell() -> None:
    """Nor does its key: the token is kept as a digest."""
    with tool_server() as server:
        async with pool_of(choice_of(server)) as pool:
            lease = await pool.lease(context_of("alice"))
            pool.release(lease)

            assert TOKENS["alice"] not in f"{lease!r} {pool!r} {lease.connection!r}"
