"""The table ``[mcp.NAME]`` of the settings file.

Rules: what would put a user's token where it can be read is refused at start: in the clear over a network, or in the
prompt, unless the table says so aloud. So is an option of another way for the identity to travel than the one chosen:
it would do nothing, and somebody counts on it.
"""

import ipaddress
from typing import Annotated, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from agent_backend.mcp.choice import (
    CALL_TIMEOUT,
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    RETRY_AFTER,
    USUAL_NAMES,
    Fact,
    Identity,
    ServerChoice,
)

# As in an environment variable: AGENT_BACKEND_MCP__ORDERS__URL.
McpName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
# Which options belong to which way of travelling.
OPTIONS: dict[Identity, frozenset[str]] = {
    "header": frozenset({"header", "scheme"}),
    "meta": frozenset({"meta"}),
    "arguments": frozenset({"arguments"}),
    "prompt": frozenset({"arguments", "allow_prompt_credentials"}),
}
# Headers the transport needs for itself.
TAKEN = frozenset({"accept", "connection", "content-length", "content-type", "host", "last-event-id"})


class McpSettings(BaseModel):
    """An MCP server whose tools the agent may call, in the name of the user who asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: AnyHttpUrl = Field(description="its streamable HTTP endpoint: https://…/mcp; http on this machine only")
    allow_http: bool = Field(
        default=False, description="allow http to another machine: whoever is on the way reads tokens"
    )
    identity: Identity = Field(default="header", description="how the user's identity travels to it")
    title: str = Field(default="", max_length=80, description="what users are told it is called; default: NAME")
    header: str = Field(
        default="Authorization",
        pattern=r"^[A-Za-z0-9-]+$",
        description='identity "header": the header with the user\'s token',
    )
    scheme: str = Field(
        default="Bearer", pattern=r"^[A-Za-z0-9-]*$", description='what goes before the token there; "" for nothing'
    )
    arguments: dict[str, Fact] = Field(
        default_factory=lambda: dict(USUAL_NAMES),
        min_length=1,
        description='identity "arguments": hidden parameters, in any spelling, and what each is filled with; '
        '"prompt": the names the model is told',
    )
    meta: dict[str, Fact] = Field(
        default_factory=lambda: dict(USUAL_NAMES),
        min_length=1,
        description='identity "meta": keys in _meta of each call and what each is filled with',
    )
    allow_prompt_credentials: bool = Field(
        default=False, description='needed for identity "prompt": the model and whoever runs it see users\' tokens'
    )
    tools: tuple[str, ...] | None = Field(default=None, description="the only tools to offer; default: all it has")
    prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,20}$",
        description="put before each tool's name, where two servers have tools of one name",
    )
    required: bool = Field(
        default=False, description="without it there is no answer but an error; else answers go on without its tools"
    )
    connect_timeout: float = Field(
        default=CONNECT_TIMEOUT, gt=0, le=300, description="seconds to connect and list its tools; a user waits for it"
    )
    call_timeout: float = Field(default=CALL_TIMEOUT, gt=0, le=3600, description="seconds for one call")
    idle_timeout: float = Field(
        default=IDLE_TIMEOUT, gt=0, le=86400, description="seconds a connection is kept for its user's next message"
    )
    max_connections: int = Field(
        default=MAX_CONNECTIONS, ge=1, le=10_000, description="connections to it, one for each answer under way"
    )
    retry_after: float = Field(
        default=RETRY_AFTER, ge=0, le=3600, description="seconds it is left alone after it could not be reached"
    )

    @model_validator(mode="after")
    def keeps_tokens_safe(self) -> Self:
        if self.url.username or self.url.password:
            raise ValueError("no user or password in the url: choose how each user's own identity travels instead")
        if self.url.scheme == "http" and not self.allow_http and not is_loopback(self.url.host or ""):
            raise ValueError(
                f"http to {self.url.host} shows users' tokens to the network: use https, or set allow_http = true"
            )
        if self.identity == "prompt" and not self.allow_prompt_credentials:
            raise ValueError(
                'identity "prompt" gives each user\'s token to the model, whoever runs it, and its logs: use "header", '
                '"meta" or "arguments", or set allow_prompt_credentials = true if that is acceptable'
            )
        return self

    @model_validator(mode="after")
    def says_what_it_does(self) -> Self:
        all_options = frozenset[str]().union(*OPTIONS.values())
        idle = sorted(self.model_fields_set & (all_options - OPTIONS[self.identity]))
        if idle:
            raise ValueError(f'{", ".join(idle)}: of no use with identity "{self.identity}"; remove it')
        if self.header.lower() in TAKEN or self.header.lower().startswith("mcp-"):
            raise ValueError(f"header {self.header}: the transport needs it for itself; choose another")
        return self

    def choice(self, name: str) -> ServerChoice:
        options = self.model_dump(exclude={"url", "allow_http", "allow_prompt_credentials"})
        return ServerChoice(name=name, url=str(self.url), **options)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
