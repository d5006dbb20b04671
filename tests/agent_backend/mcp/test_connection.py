"""A connection: opened and closed in one task, and exact about what became of each call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.types import TextContent

from agent_backend.mcp.choice import ServerChoice
from agent_backend.mcp.connection import Connection
from agent_backend.mcp.failures import ServerUnavailable, SessionLost, TokenRefused, ToolFailed
from agent_backend.mcp.wire import HeaderIdentity
from tests.agent_backend.mcp.world import TOKENS, choice_of, nothing_left, tool_server, until
from tests.support.mcp_server import running
from tests.support.servers import free_port

ALICE = HeaderIdentity("Authorization", f"Bearer {TOKENS['alice']}")
ERAS = pytest.mark.parametrize("era", ["modern", "handshake"])


@contextlib.asynccontextmanager
async def connected(choice: ServerChoice, *, auth: HeaderIdentity | None = ALICE) -> AsyncIterator[Connection]:
    """An open one; when it is closed, no task is left of it, however it went."""
    with nothing_left():
        connection = Connection(choice, auth=auth)
        owner = connection.start()
        try:
            await connection.opened()
            yield connection
        finally:
            connection.close()
            await owner


async def call(connection: Connection, tool: str, arguments: dict[str, Any] | None = None) -> str:
    result = await connection.call(tool, arguments or {}, None)
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


@ERAS
async def test_it_calls_tools_and_leaves_nothing_behind(era: str) -> None:
    """With servers of both protocol eras: no task, no socket, no session."""
    with tool_server(era=era) as server:
        async with connected(choice_of(server)) as connection:
            assert {"whoami", "orders"} < {tool.name for tool in await connection.list_tools()}
            assert await call(connection, "whoami") == "alice"
            assert repr(connection) == "<Connection orders open>"
        await until(lambda: (server.sockets, server.sessions) == (0, 0))


async def test_a_plain_connection_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is for the way out: on this machine it would only read the token."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with tool_server() as server:
        async with connected(choice_of(server)) as connection:
            assert await call(connection, "whoami") == "alice"


async def test_the_tool_list_is_asked_for_once() -> None:
    """Each turn lists the tools; the server hears of the first."""
    with tool_server() as server:
        async with connected(choice_of(server)) as connection:
            first = await connection.list_tools()
            server.refuse_with = 500

            assert await connection.list_tools() == first


@ERAS
@pytest.mark.parametrize("token", ["wrong", None])
async def test_a_wrong_token_is_told_apart(era: str, token: str | None) -> None:
    """The SDK says "unhandled errors in a TaskGroup"; we say that the user was refused."""
    auth = HeaderIdentity("Authorization", f"Bearer {token}") if token else None
    with tool_server(era=era) as server, pytest.raises(TokenRefused, match="refused the user: 401"):
        async with connected(choice_of(server), auth=auth):
            pass


async def test_a_server_that_is_not_there() -> None:
    """Down for everybody: worth a pause before the next try."""
    choice = ServerChoice(name="orders", url=f"http://127.0.0.1:{free_port()}/mcp")
    with pytest.raises(ServerUnavailable, match="could not be reached") as failed:
        async with connected(choice):
            pass

    assert failed.value.is_down


async def test_a_server_that_does_not_answer() -> None:
    """The user waits for connect_timeout and no longer."""
    with tool_server() as server:
        server.stuck.set()
        with pytest.raises(ServerUnavailable, match=r"no answer within 0\.2 s") as failed:
            async with connected(choice_of(server, connect_timeout=0.2)):
                pass
        assert failed.value.is_down


@pytest.mark.parametrize(("status", "is_down"), [(500, False), (503, True), (400, False)])
async def test_a_server_that_fails(status: int, is_down: bool) -> None:
    """A proxy without a server behind it is down; a server's own error may be one user's."""
    with tool_server(refuse_with=status) as server:
        with pytest.raises(ServerUnavailable, match=f"answered {status}: ") as failed:
            async with connected(choice_of(server)):
                pass
        assert failed.value.is_down == is_down


@ERAS
async def test_a_call_that_takes_too_long(era: str) -> None:
    """The server is told to stop, the model that the outcome is unknown; the connection goes on."""
    with tool_server(era=era) as server:
        async with connected(choice_of(server, call_timeout=2.0)) as connection:
            with pytest.raises(ToolFailed, match=r"did not answer within 2 s.*not known whether"):
                await call(connection, "slow")
            await until(lambda: server.cut == 1)

            assert await call(connection, "whoami") == "alice"


@ERAS
async def test_a_server_that_dies_in_mid_call(era: str) -> None:
    """The call may have been carried out: it is not made again, and the model learns why."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(tool_server(era=era))
        async with connected(choice_of(server)) as connection:
            calling = asyncio.create_task(call(connection, "slow"))
            await asyncio.to_thread(server.begun.wait, 10)
            stack.close()

            with pytest.raises(ToolFailed, match=r"connection to orders was lost.*do not repeat it"):
                await calling
            assert connection.is_broken


@ERAS
async def test_a_call_that_cannot_be_sent(era: str) -> None:
    """It was certainly not carried out, which a caller may make use of."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(tool_server(era=era))
        async with connected(choice_of(server)) as connection:
            stack.close()

            with pytest.raises(SessionLost):
                await call(connection, "whoami")
            with pytest.raises(SessionLost):
                await call(connection, "whoami")


async def test_a_session_the_server_has_forgotten() -> None:
    """After its restart; the call was not carried out."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(tool_server(era="handshake"))
        stack.close()
        stack.enter_context(running(server, port=port))
        async with connected(choice_of(server)) as connection:
            stack.close()
            with running(server, port=port):
                with pytest.raises(SessionLost):
                    await call(connection, "whoami")
                assert [one.tool for one in server.calls] == []


async def test_a_token_that_is_refused_later() -> None:
    """It ran out, or was taken back, while the connection was open."""
    with tool_server() as server:
        async with connected(choice_of(server)) as connection:
            server.tokens = {}
            with pytest.raises(TokenRefused):
                await call(connection, "whoami")
            assert connection.is_broken


async def test_what_the_server_explains_is_passed_on() -> None:
    """An error of the tool is a result, for the model to read; a missing parameter is said before anything is sent."""
    with tool_server() as server:
        async with connected(choice_of(server)) as connection:
            assert "is not the token of 'x'" in await call(
                connection, "orders", {"status": "open", "user_id": "x", "access_token": "y"}
            )
            with pytest.raises(ToolFailed, match="missing required parameters: access_token, user_id"):
                await call(connection, "orders", {"status": "open"})
            assert [one.tool for one in server.calls] == ["orders"]


async def test_a_cancelled_call_ends_at_the_server_too() -> None:
    """Nobody works for a user who has left; and nobody uses a connection in that state again."""
    with tool_server() as server:
        async with connected(choice_of(server)) as connection:
            calling = asyncio.create_task(call(connection, "slow"))
            await asyncio.to_thread(server.begun.wait, 10)
            calling.cancel()
            await until(lambda: server.cut == 1)

            assert connection.is_broken


async def test_calls_at_once_are_made_one_after_the_other() -> None:
    """And each is judged by its own outcome: the second goes well where the first was too slow."""
    with tool_server() as server:
        async with connected(choice_of(server, call_timeout=2.0)) as connection:
            slow, quick = await asyncio.gather(
                call(connection, "slow"), call(connection, "whoami"), return_exceptions=True
            )

            assert isinstance(slow, ToolFailed)
            assert quick == "alice"


async def test_a_server_that_does_not_let_go() -> None:
    """Its farewell is waited for, for a moment."""
    with tool_server(era="handshake") as server:
        async with connected(choice_of(server)) as connection:
            server.stuck.set()
            connection.close()


def test_the_token_is_in_no_repr() -> None:
    """Headers are printed by debuggers and error reporters."""
    assert repr(ALICE) == "<HeaderIdentity Authorization>"
