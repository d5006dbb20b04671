"""McpServers: the MCP servers of one backend, and what one turn gets of them.

    async with servers.servers_for(context) as tools:
        Turn(…, mcp_servers=tools.servers)

Rules: all servers are asked at once, and before the agent is built: a turn begins with tools that work, or without them
and with a log line, or, where the server is required, not at all. Nothing outlives the `async with` but idle
connections. Knows nothing of settings files, threads or models.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from openai.types.responses import EasyInputMessageParam

from agent_backend.context import RequestContext
from agent_backend.mcp.choice import ServerChoice, facts_of, named_facts
from agent_backend.mcp.connection import silence_wire_logs
from agent_backend.mcp.failures import RequiredServerUnavailable, ServerUnavailable, SessionLost
from agent_backend.mcp.pool import ConnectionPool, Lease
from agent_backend.mcp.user_server import UserServer

PROMPT = (
    "The tools of {name} ask for these values of the user. Give them to these tools as they are. "
    "Never show them to anyone, and never give them to another tool."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTools:
    """What one turn gets.

    Attributes:
        servers: Connected as this user, for the agent.
        prompts: Messages to put before the conversation; of servers with ``identity = "prompt"`` only.
    """

    servers: tuple[UserServer, ...] = ()
    prompts: tuple[EasyInputMessageParam, ...] = ()


class McpServers:
    """All servers the settings name, in their order; none is fine."""

    def __init__(self, choices: Iterable[ServerChoice] = ()) -> None:
        self._pools = [ConnectionPool(choice) for choice in choices]
        silence_wire_logs()

    def __repr__(self) -> str:
        return f"<McpServers {self._pools!r}>"

    def warn(self) -> None:
        """Say what is unwise in the settings; at start."""
        for pool in self._pools:
            if pool.choice.identity == "prompt":
                logger.warning(
                    "credentials in prompts: the model, whoever runs it, and its logs see the users' tokens",
                    extra={"server": pool.choice.name, "fix": 'another identity than "prompt" for this server'},
                )

    @asynccontextmanager
    async def servers_for(self, context: RequestContext) -> AsyncIterator[TurnTools]:
        """Connections for one turn of this user, given back at the end.

        Raises `RequiredServerUnavailable`, whose message is for the user.
        """
        leases: dict[ConnectionPool, Lease] = {}
        try:
            missing = await self._lease_all(context, leases)
            for pool, cause in missing.items():
                if pool.choice.required:
                    raise RequiredServerUnavailable(pool.choice.shown_name, cause)
            yield await self._tools_of(context, leases)
        finally:
            for pool, lease in leases.items():
                pool.release(lease)

    async def aclose(self) -> None:
        await asyncio.gather(*[pool.aclose() for pool in self._pools])

    async def _lease_all(
        self, context: RequestContext, leases: dict[ConnectionPool, Lease]
    ) -> dict[ConnectionPool, ServerUnavailable]:
        """Fill ``leases`` at once, in the order of the settings; give what failed."""
        missing: dict[ConnectionPool, ServerUnavailable] = {}

        async def lease(pool: ConnectionPool) -> None:
            try:
                leases[pool] = await pool.lease(context)
            except ServerUnavailable as exc:
                missing[pool] = exc

        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                group.create_task(lease(pool))
        for pool, cause in missing.items():
            note(pool.choice.name, str(cause), context)
        return missing

    async def _tools_of(self, context: RequestContext, leases: dict[ConnectionPool, Lease]) -> TurnTools:
        servers: list[UserServer] = []
        taken: set[str] = set()
        for pool in self._pools:
            if pool not in leases:
                continue
            server = await user_server(pool, leases[pool])
            twice = server.tool_names & taken
            if twice:
                server.leave_out(twice)
                note(pool.choice.name, f"tools of another server's name left out: {sorted(twice)}; set prefix", context)
            taken |= server.tool_names
            servers.append(server)
        prompts = [prompt_for(pool.choice, context) for pool in leases if pool.choice.identity == "prompt"]
        return TurnTools(servers=tuple(servers), prompts=tuple(prompts))


async def user_server(pool: ConnectionPool, lease: Lease) -> UserServer:
    try:
        tools = await lease.connection.list_tools()
    except SessionLost:
        tools = []
    return UserServer(pool=pool, lease=lease, tools=tools)


def prompt_for(choice: ServerChoice, context: RequestContext) -> EasyInputMessageParam:
    """The old pattern: the values in words, each in quotes on a line of its own."""
    values = named_facts(choice.arguments, facts_of(context))
    lines = [f"- {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return {"role": "system", "content": "\n".join([PROMPT.format(name=choice.name), *lines])}


def note(server: str, reason: str, context: RequestContext) -> None:
    fields = {"server": server, "reason": reason, "request_id": context.request_id, "user": context.user.digest}
    logger.warning("mcp server not available", extra=fields)
