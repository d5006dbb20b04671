"""What the settings say of one MCP server, and which facts about a user can travel to it.

Rules: frozen; facts are what the gateway verified, never what a browser or a model said. A fact that is not there is
left out, not sent empty. Knows nothing of MCP or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent_backend.context import RequestContext

Identity = Literal["header", "meta", "arguments", "prompt"]
Fact = Literal["user_id", "issuer", "tenant", "email", "name", "roles", "locale", "access_token"]

# What most servers that take an identity call it.
USUAL_NAMES: Mapping[str, Fact] = {"user_id": "user_id", "access_token": "access_token"}
# Seconds to connect, shake hands and list the tools: a user waits for it, once per connection.
CONNECT_TIMEOUT = 5.0
# Seconds for one call. The SDK's own 5 s cut off any tool that searches or computes.
CALL_TIMEOUT = 60.0
# Seconds a connection waits for its user's next message: longer than people read an answer.
IDLE_TIMEOUT = 300.0
# Connections to one server, idle ones included: one socket or two each, far below a process's 1,024 files.
MAX_CONNECTIONS = 100
# Seconds in which a server that could not be reached is not tried again: else each answer waits CONNECT_TIMEOUT.
RETRY_AFTER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChoice:
    """One MCP server, how to reach it, and how the user's identity travels to it. Times in seconds.

    Attributes:
        title: What users are told it is called, when it fails them.
        header: ``identity = "header"``: its name; ``scheme`` goes before the token, "" for none.
        arguments: ``"arguments"`` and ``"prompt"``: parameter names, and the fact each is filled with.
        meta: ``"meta"``: keys in `_meta`, likewise.
        tools: The only tools to offer; None offers all.
        prefix: Put before each tool's name, where two servers have tools of one name.
        required: Without this server there is no answer, but an error the user can read.
    """

    name: str
    url: str
    identity: Identity = "header"
    title: str = ""
    header: str = "Authorization"
    scheme: str = "Bearer"
    arguments: Mapping[str, Fact] = field(default_factory=lambda: dict(USUAL_NAMES))
    meta: Mapping[str, Fact] = field(default_factory=lambda: dict(USUAL_NAMES))
    tools: tuple[str, ...] | None = None
    prefix: str = ""
    required: bool = False
    connect_timeout: float = CONNECT_TIMEOUT
    call_timeout: float = CALL_TIMEOUT
    idle_timeout: float = IDLE_TIMEOUT
    max_connections: int = MAX_CONNECTIONS
    retry_after: float = RETRY_AFTER

    @property
    def shown_name(self) -> str:
        return self.title or self.name

    @property
    def needs_token(self) -> bool:
        """Does anything that travels contain the user's token?"""
        if self.identity == "header":
            return True
        names = self.meta if self.identity == "meta" else self.arguments
        return "access_token" in names.values()


def facts_of(context: RequestContext) -> dict[Fact, Any]:
    """What is known of the user, by name; nothing else can be sent."""
    user = context.user
    facts: dict[Fact, Any] = {
        "user_id": user.id,
        "issuer": user.issuer,
        "tenant": user.tenant,
        "email": user.email,
        "name": user.name,
        "roles": list(user.roles),
        "locale": context.locale,
        "access_token": context.token,
    }
    return {name: value for name, value in facts.items() if value}


def named_facts(names: Mapping[str, Fact], facts: Mapping[Fact, Any]) -> dict[str, Any]:
    """Facts under the names a server knows them by."""
    return {name: facts[fact] for name, fact in names.items() if fact in facts}
