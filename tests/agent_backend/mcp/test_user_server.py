"""One server as one user sees it: four ways for the identity to travel, and no token on the way back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, RunContextWrapper
from agents.mcp import MCPUtil
from agents.tool import FunctionTool

from agent_backend.context import RequestContext
from agent_backend.mcp.failures import ToolFailed
from agent_backend.mcp.user_server import UserServer
from tests.agent_backend.mcp.world import TOKENS, choice_of, context_of, said, servers_of, tool_server, until
from tests.support.mcp_server import Call, ToolServer, running
from tests.support.servers import free_port

ERAS = pytest.mark.parametrize("era", ["modern", "handshake"])


@contextlib.asynccontextmanager
async def user_server(
    server: ToolServer, context: RequestContext | None = None, **options: Any
) -> AsyncIterator[UserServer]:
    """The server as this user's turn sees it."""
    async with (
        servers_of(choice_of(server, **options)) as servers,
        servers.servers_for(context or context_of("alice")) as tools,
    ):
        yield tools.servers[0]


@ERAS
async def test_in_the_header(era: str) -> None:
    """The server's own guard lets the user in, and knows who it is."""
    with tool_server(era=era) as server:
        async with user_server(server) as alice, user_server(server, context_of("bob")) as bob:
            assert [await said(alice, "whoami"), await said(bob, "whoami")] == ["alice", "bob"]


async def test_in_a_header_of_another_name() -> None:
    """Without a scheme, too."""
    with tool_server(guarded=False) as server:
        async with user_server(server, header="X-User-Token", scheme="") as alice:
            headers = json.loads(await said(alice, "echo"))["headers"]

    assert headers["x-user-token"] == "[removed]"
    assert "authorization" not in headers


@ERAS
async def test_in_meta(era: str) -> None:
    """Under the keys of the settings; what the caller sends there otherwise stays, but cannot change who it is."""
    with tool_server(guarded=False, era=era) as server:
        meta = {"who": "user_id", "mail": "email", "token": "access_token", "home": "tenant"}
        async with user_server(server, identity="meta", meta=meta) as alice:
            await said(alice, "whoami", meta={"who": "bob", "trace": "t1"})

    assert [call.meta for call in server.calls] == [
        {"who": "alice", "mail": "alice@example.test", "token": TOKENS["alice"], "trace": "t1"}
    ]


@ERAS
async def test_in_arguments(era: str) -> None:
    """The model sees no such parameter; the server gets the user's, whatever the model made up."""
    with tool_server(guarded=False, era=era) as server:
        async with user_server(server, identity="arguments") as alice:
            schemas = {tool.name: tool.input_schema for tool in await alice.list_tools()}
            made_up = {"status": "open", "user_id": "bob", "accessToken": TOKENS["bob"]}
            answer = await said(alice, "orders", made_up)
            await said(alice, "whoami", {"user_id": "bob"})

    assert (list(schemas["orders"]["properties"]), schemas["orders"]["required"]) == (["status"], ["status"])
    assert answer == "alice has 3 open orders"
    given = {"status": "open", "user_id": "alice", "access_token": TOKENS["alice"]}
    assert server.calls == [Call(tool="orders", caller="nobody", arguments=given), Call(tool="whoami", caller="nobody")]


async def test_what_the_model_is_offered_names_no_hidden_parameter() -> None:
    """As the SDK turns it into function tools."""
    with tool_server(guarded=False) as server:
        async with user_server(server, identity="arguments") as alice:
            agent = Agent[Any](name="a", mcp_servers=[alice])
            offered = await MCPUtil.get_function_tools(alice, True, RunContextWrapper(None), agent)

    told = json.dumps([tool.params_json_schema for tool in offered if isinstance(tool, FunctionTool)])
    assert len(offered) == 7
    assert "user_id" not in told
    assert "access_token" not in told


async def test_in_the_prompt() -> None:
    """Nothing is hidden and nothing filled in: the model is told the values, and passes them on."""
    with tool_server(guarded=False) as server:
        async with (
            servers_of(choice_of(server, identity="prompt")) as servers,
            servers.servers_for(context_of("alice")) as tools,
        ):
            alice = tools.servers[0]
            orders = next(tool for tool in await alice.list_tools() if tool.name == "orders")
            told = {"status": "open", "user_id": "alice", "access_token": TOKENS["alice"]}
            answer = await said(alice, "orders", told)

    assert list(orders.input_schema["properties"]) == ["status", "user_id", "access_token"]
    assert answer == "alice has 3 open orders"
    [prompt] = tools.prompts
    assert f'- access_token: "{TOKENS["alice"]}"' in str(prompt["content"])
    assert '- user_id: "alice"' in str(prompt["content"])


@ERAS
@pytest.mark.parametrize("identity", ["header", "meta", "arguments"])
async def test_a_server_that_repeats_the_token_is_not_heard(era: str, identity: str) -> None:
    """In results and in errors, whole or cut."""
    with tool_server(guarded=False, era=era) as server:
        async with user_server(server, identity=identity) as alice:
            answers = await said(alice, "echo") + await said(alice, "fail")

    assert "[removed]" in answers
    assert TOKENS["alice"] not in answers


async def test_a_tool_is_called_by_its_own_name_whatever_the_model_calls_it() -> None:
    """With a prefix, where two servers have tools of one name."""
    with tool_server() as server:
        async with user_server(server, prefix="shop_", tools=("whoami",)) as alice:
            assert [tool.name for tool in await alice.list_tools()] == ["shop_whoami"]
            assert await said(alice, "shop_whoami") == "alice"


@pytest.mark.parametrize("name", ["echo", "nothing"])
async def test_only_listed_tools_can_be_called(name: str) -> None:
    """The list of the settings holds for calls, too."""
    with tool_server() as server:
        async with user_server(server, tools=("whoami",)) as alice:
            with pytest.raises(ToolFailed, match=f"There is no tool {name}"):
                await said(alice, name)

    assert server.calls == []


@ERAS
@pytest.mark.parametrize("identity", ["header", "meta"])
async def test_an_error_of_the_protocol_that_repeats_the_token_is_not_heard(era: str, identity: str) -> None:
    """What the server says is passed on to the model, without it."""
    with tool_server(guarded=False, era=era) as server:
        async with user_server(server, identity=identity) as alice:
            with pytest.raises(ToolFailed, match=r"^orders refused the call: no .*\[removed\]") as failed:
                await said(alice, "refuse")

    assert TOKENS["alice"] not in repr(failed.value)


@ERAS
async def test_a_restarted_server_is_connected_to_again(era: str) -> None:
    """Once, and the call made once: the user notices nothing."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        server = ToolServer(tokens={TOKENS["alice"]: "alice"}, era=era)
        stack.enter_context(running(server, port=port))
        async with user_server(server) as alice:
            stack.close()
            with running(server, port=port):
                first, second = await asyncio.gather(said(alice, "whoami"), said(alice, "whoami"))
                assert (first, second) == ("alice", "alice")
                assert [call.tool for call in server.calls] == ["whoami", "whoami"]
        assert server.opened in ({"modern": (1, 2), "handshake": (2,)}[era])


async def test_a_server_that_stays_away_is_told_to_the_model() -> None:
    """In words it can pass on; the turn goes on."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(tool_server())
        async with user_server(server, title="Orders") as alice:
            stack.close()
            for _ in range(2):
                with pytest.raises(ToolFailed, match=r"^Orders cannot be reached right now"):
                    await said(alice, "whoami")


async def test_a_token_that_runs_out_during_a_turn() -> None:
    """The model can tell the user what to do."""
    with tool_server() as server:
        async with user_server(server, title="Orders") as alice:
            server.tokens = {}
            with pytest.raises(ToolFailed, match=r"Orders does not accept the user's sign-in. They must sign in again"):
                await said(alice, "whoami")


async def test_a_failure_holds_no_token_and_no_trail_to_one() -> None:
    """Exceptions are logged with their causes."""
    with tool_server() as server:
        async with user_server(server, call_timeout=0.2) as alice:
            with pytest.raises(ToolFailed) as failed:
                await said(alice, "slow")

    assert TOKENS["alice"] not in repr(failed.value)
    assert (failed.value.__cause__, failed.value.__context__) == (None, None)


async def test_it_is_the_pools_to_connect_and_close() -> None:
    """An agent that closes its servers does not close another turn's."""
    with tool_server() as server:
        async with user_server(server) as alice:
            await alice.cleanup()
            await alice.connect()

            assert await said(alice, "whoami") == "alice"
            assert repr(alice) == "<UserServer orders 7 tools>"
            assert (await alice.list_prompts()).prompts == []
            with pytest.raises(ToolFailed, match="tools only"):
                await alice.get_prompt("x")


async def test_a_cancelled_turn_leaves_no_call_behind() -> None:
    """The server is told, and the connection closed."""
    with tool_server() as server:
        async with servers_of(choice_of(server)) as servers:

            async def turn() -> None:
                async with servers.servers_for(context_of("alice")) as tools:
                    await said(tools.servers[0], "slow")

            running_turn = asyncio.create_task(turn())
            await asyncio.to_thread(server.begun.wait, 10)
            running_turn.cancel()
            await asyncio.wait([running_turn])

            assert repr(servers) == "<McpServers [<ConnectionPool orders 0 busy, 0 idle>]>"
            await until(lambda: (server.cut, server.sockets) == (1, 0))
