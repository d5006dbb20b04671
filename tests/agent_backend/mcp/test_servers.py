"""What one turn gets: all servers at once, those that work, or a clear no."""

import asyncio
import logging

import pytest
from chatkit.errors import CustomStreamError

from agent_backend.mcp import McpServers, ServerChoice
from agent_backend.mcp.failures import tell_model
from tests.agent_backend.mcp.world import (
    TOKENS,
    choice_of,
    context_of,
    nothing_left,
    said,
    servers_of,
    tool_server,
    until,
)
from tests.support.servers import free_port


def down(**options: object) -> ServerChoice:
    return ServerChoice(**{"name": "stock", "url": f"http://127.0.0.1:{free_port()}/mcp", **options})  # type: ignore[arg-type]


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Server, reason and request of each line about a server."""
    told = [record.__dict__ for record in caplog.records if record.getMessage() == "mcp server not available"]
    return [(line["server"], line["reason"], line["request_id"]) for line in told]


async def test_no_servers_is_fine() -> None:
    """Most backends begin so."""
    async with servers_of() as servers, servers.servers_for(context_of()) as tools:
        assert (tools.servers, tools.prompts) == ((), ())


async def test_an_answer_goes_on_without_a_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """Its tools are missing, the others' are there, and the log says why."""
    with tool_server() as server:
        async with servers_of(down(), choice_of(server)) as servers, servers.servers_for(context_of()) as tools:
            assert [one.name for one in tools.servers] == ["orders"]
            assert await said(tools.servers[0], "whoami") == "alice"

    assert lines(caplog) == [("stock", "could not be reached", "req-1")]


async def test_without_a_required_server_there_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """An error the user can read, worth another try; the other servers' connections are given back."""
    with tool_server() as server:
        async with servers_of(choice_of(server), down(required=True, title="The stock system")) as servers:
            with pytest.raises(CustomStreamError, match="The stock system cannot be reached right now") as refused:
                async with servers.servers_for(context_of()):
                    pass

            assert refused.value.allow_retry
            assert "ConnectionPool orders 0 busy, 1 idle" in repr(servers)
    assert lines(caplog) == [("stock", "could not be reached", "req-1")]


async def test_a_required_server_that_refuses_the_user(caplog: pytest.LogCaptureFixture) -> None:
    """Another try would end the same: the user is told to sign in."""
    with tool_server() as server:
        async with servers_of(choice_of(server, required=True)) as servers:
            with pytest.raises(CustomStreamError, match="orders does not accept your sign-in") as refused:
                async with servers.servers_for(context_of(token="expired")):
                    pass

    assert not refused.value.allow_retry
    assert lines(caplog) == [("orders", "refused the user: 401", "req-1")]


async def test_all_servers_are_asked_at_once() -> None:
    """Two slow ones cost the wait for one: neither begins to answer before both were asked."""
    with tool_server() as orders, tool_server() as stock:
        orders.stuck.set()
        stock.stuck.set()
        async with servers_of(choice_of(orders), choice_of(stock, name="stock", prefix="stock_")) as servers:

            async def turn() -> list[str]:
                async with servers.servers_for(context_of()) as tools:
                    return [one.name for one in tools.servers]

            asking = asyncio.create_task(turn())
            await until(lambda: (orders.sockets, stock.sockets) == (1, 1))
            stock.stuck.clear()
            orders.stuck.clear()
            assert await asking == ["orders", "stock"]


async def test_a_turn_that_is_cancelled_while_it_connects_leaves_nothing() -> None:
    """Neither at the server that had answered nor at the one that had not."""
    with tool_server() as orders, tool_server() as stock, nothing_left():
        stock.stuck.set()
        async with servers_of(choice_of(orders), choice_of(stock, name="stock")) as servers:

            async def turn() -> None:
                async with servers.servers_for(context_of()):
                    raise AssertionError("it connected")

            connecting = asyncio.create_task(turn())
            await until(lambda: orders.opened == 1 and stock.sockets == 1)
            connecting.cancel()
            await asyncio.wait([connecting])

            assert connecting.cancelled()
            assert "busy" in repr(servers)
            assert "1 busy" not in repr(servers)
        stock.stuck.clear()
        await until(lambda: (orders.sockets, stock.sockets) == (0, 0))


async def test_of_tools_of_one_name_the_first_servers_is_offered(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK would fail the answer; we leave the second out, and say which setting brings it back."""
    with tool_server() as server:
        async with (
            servers_of(
                choice_of(server, tools=("whoami", "echo")),
                choice_of(server, name="second", tools=("whoami", "slow")),
                choice_of(server, name="third", tools=("whoami",), prefix="third_"),
            ) as servers,
            servers.servers_for(context_of()) as tools,
        ):
            names = [[tool.name for tool in await one.list_tools()] for one in tools.servers]

    assert names == [["whoami", "echo"], ["slow"], ["third_whoami"]]
    assert [(name, "set prefix" in reason) for name, reason, _ in lines(caplog)] == [("second", True)]


async def test_only_a_prompt_server_puts_anything_in_the_prompt() -> None:
    """And only the values its table names."""
    with tool_server(guarded=False) as server:
        choices = [
            choice_of(server, tools=()),
            choice_of(server, name="meta", identity="meta", tools=()),
            choice_of(server, name="old", identity="prompt", arguments={"uid": "user_id"}, tools=()),
        ]
        async with servers_of(*choices) as servers, servers.servers_for(context_of()) as tools:
            [prompt] = tools.prompts

    assert prompt["role"] == "system"
    assert '- uid: "alice"' in str(prompt["content"])
    assert TOKENS["alice"] not in str(prompt)


def test_credentials_in_prompts_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """At start, by the server's name; the other ways need no warning."""
    choices = [ServerChoice(name="old", url="https://o.test/mcp", identity="prompt"), down()]

    McpServers(choices).warn()

    assert [(record.levelno, record.__dict__["server"]) for record in caplog.records] == [(logging.WARNING, "old")]
    assert "see the users' tokens" in caplog.text


def test_the_model_is_told_our_words_only() -> None:
    """Of an error that is not ours nothing is repeated."""
    assert "abc" not in tell_model(None, ValueError("abc"))  # type: ignore[arg-type]
