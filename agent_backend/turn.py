"""One turn: everything an agent is built from, per request.

Rules: frozen; made by the server for each answer, given to `build_agent`, gone with the answer. Whoever brings an agent
of their own is called with this and nothing else. Knows nothing of HTTP, stores or settings.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents import Agent, Model
from agents.mcp import MCPServer
from chatkit.agents import AgentContext
from chatkit.types import ThreadMetadata, UserMessageItem

from agent_backend.context import RequestContext

ChatContext = AgentContext[RequestContext]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an answer is made from.

    Attributes:
        context: Who asks, about which page, in which request.
        message: The user's message, or None: after a tool's output, an action, structured input.
        model: The model the settings choose.
        mcp_servers: Connected as this user; good until the answer ends.

    ``context.token`` is the user's own token, where the gateway forwards it: for a tool that calls something in the
    user's name. It belongs in no instruction and no message.
    """

    context: RequestContext
    thread: ThreadMetadata
    message: UserMessageItem | None
    model: Model
    mcp_servers: tuple[MCPServer, ...] = ()


BuildAgent = Callable[[Turn], Agent[ChatContext] | Awaitable[Agent[ChatContext]]]
