"""One typed model of everything that can be set: a TOML file, and the environment over it.

Rules: every limit and time-out has its unit and its reason here. Unknown keys and unknown ``AGENT_BACKEND_*`` variables
are refused, because a misspelled limit is no limit. All problems are reported at once, each with what to do.

    AGENT_BACKEND_SERVER__PORT=9001        overrides [server] port
    AGENT_BACKEND_SECRETS_DIR              names a directory of files, each named like a variable (`secret_files`)
    DATABASE_URL                           stands in for [database] url where neither file nor variable sets it
    AGENT_BACKEND_SETTINGS                 names the file
"""

import os
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent_backend.access_log import LogFormat
from agent_backend.attachments.settings import AttachmentSettings
from agent_backend.context import MAX_PAGE_BYTES
from agent_backend.history import MAX_ITEMS, MAX_TOKENS
from agent_backend.mcp.settings import McpName, McpSettings
from agent_backend.models import Api, Provider
from agent_backend.offline_model import WORD_DELAY
from agent_backend.patient_model import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    FIRST_TOKEN_TIMEOUT,
    MAX_RETRY_WAIT,
    RETRIES,
    RETRY_WAIT,
    TOKEN_TIMEOUT,
)
from agent_backend.plugin import BUILD_TIMEOUT, DEFAULT_ACTIONS, DEFAULT_AGENT, check_name
from agent_backend.secret_files import DIRECTORY_VARIABLE, PREFIX, SecretFiles
from agent_backend.store.database import POOL_SIZE, POOL_TIMEOUT, database_url
from agent_backend.store.leases import LEASE, WAIT
from agent_backend.titles import TITLE_TIMEOUT
from agent_backend.trust import MAX_BODY
from agent_backend.usage import MAX_PENDING, WRITE_TIMEOUT


def check_url(url: str) -> str:
    """A URL we can use; for a file, in a folder that is there. SQLite's own error does not say which."""
    parsed = database_url(url)
    folder = Path(parsed.database or "").parent
    if parsed.drivername.startswith("sqlite") and not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; make it first")
    return url


def check_path(path: str) -> str:
    if not path.startswith("/") or path in {"/livez", "/readyz"}:
        raise ValueError("a path starts with / and is not one of /livez, /readyz")
    return path


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Table):
    host: str = Field(default="127.0.0.1", description="the address to listen on; 0.0.0.0 for all")
    port: int = Field(default=9000, ge=0, le=65535, description="a free port from 1 to 65535; 0 picks one")
    path: Annotated[str, AfterValidator(check_path)] = Field(
        default="/chatkit", description="the path of the ChatKit endpoint"
    )
    # Below the 30 s after which most supervisors kill, so that what is cut is cut by us, with an event.
    drain_timeout: float = Field(
        default=25.0, ge=0, le=3600, description="seconds running answers may take after SIGTERM"
    )
    max_body: int = Field(
        default=MAX_BODY, ge=1024, description="bytes of one request; attachments travel on their own"
    )
    log_format: LogFormat = Field(default="console", description='"json" for collectors, "console" for people')


class DatabaseSettings(Table):
    url: Annotated[SecretStr, AfterValidator(lambda url: SecretStr(check_url(url.get_secret_value())))] = Field(
        default=SecretStr("sqlite:///agent.sqlite3"),
        description="sqlite:///file or postgresql://user:password@host/name",
    )
    pool_size: int = Field(
        default=POOL_SIZE, ge=1, le=1000, description="connections; none is held while the model talks"
    )
    pool_timeout: float = Field(default=POOL_TIMEOUT, gt=0, le=300, description="seconds to wait for one of them")
    # A PostgreSQL that is started together with us takes some seconds; after more, something else is wrong.
    start_timeout: float = Field(default=15.0, ge=0, le=600, description="seconds to wait for PostgreSQL at start")


class TurnSettings(Table):
    # A killed process keeps its threads taken for this long. Each renewal is one statement per process.
    lease: float = Field(
        default=LEASE, gt=0, le=3600, description="seconds a thread stays taken after its process died; renewed thrice"
    )
    # What was stopped is saved within milliseconds. Below the gateway's first_byte_timeout, which would cut it.
    wait: float = Field(
        default=WAIT, ge=0, le=20, description="seconds a turn waits for its thread while another ends; then 409"
    )


class GatewaySettings(Table):
    jwks_url: AnyHttpUrl = Field(description="where the gateway publishes its keys: https://…/.well-known/jwks.json")
    issuer: str = Field(min_length=1, description="the gateway's name: iss of its assertions")
    audience: str = Field(min_length=1, description="this backend's name at the gateway: aud of its assertions")
    # Two machines with working NTP differ by milliseconds; 5 s forgives a bad one. Every second widens a replay.
    leeway: float = Field(default=5.0, ge=0, le=60, description="seconds the two clocks may be apart")


class ModelSettings(Table):
    provider: Provider = Field(
        default="offline", description='"offline" needs nothing, "openai" any compatible endpoint'
    )
    base_url: AnyHttpUrl | None = Field(default=None, description="of a compatible endpoint; default: OpenAI's own")
    api_key: SecretStr | None = Field(
        default=None, description="better as a secret, agent_backend_model__api_key, than in this file"
    )
    name: str | None = Field(default=None, description="which model, as the endpoint calls it")
    api: Api = Field(
        default="responses", description='"responses", or "chat_completions" for most compatible endpoints'
    )
    # Off only for an endpoint that refuses stream_options; its answers are then not counted.
    include_usage: bool = Field(default=True, description="ask a chat_completions endpoint to count its tokens")
    connect_timeout: float = Field(
        default=CONNECT_TIMEOUT, gt=0, le=300, description="seconds to reach the endpoint, per attempt"
    )
    first_token_timeout: float = Field(
        default=FIRST_TOKEN_TIMEOUT, gt=0, le=3600, description="seconds until the first token, over all attempts"
    )
    token_timeout: float = Field(default=TOKEN_TIMEOUT, gt=0, le=3600, description="seconds between two tokens")
    answer_timeout: float = Field(
        default=ANSWER_TIMEOUT, gt=0, le=86400, description="seconds for one whole answer of the model"
    )
    retries: int = Field(default=RETRIES, ge=0, le=10, description="further attempts, before the first token only")
    retry_wait: float = Field(
        default=RETRY_WAIT, ge=0, le=60, description="seconds before the first of them; then twice as long each time"
    )
    max_retry_wait: float = Field(
        default=MAX_RETRY_WAIT, ge=0, le=300, description="seconds of one wait; a longer Retry-After is not waited for"
    )
    word_delay: float = Field(default=WORD_DELAY, ge=0, le=10, description="seconds between words of the offline model")

    @model_validator(mode="after")
    def has_what_it_needs(self) -> Self:
        if self.provider == "openai" and not self.name:
            raise ValueError('provider "openai" needs a name: which model to ask')
        if self.provider == "openai" and not (self.api_key or self.base_url):
            raise ValueError('provider "openai" needs an api_key, or the base_url of an endpoint that asks for none')
        return self


class HistorySettings(Table):
    max_items: int = Field(
        default=MAX_ITEMS, ge=1, le=1000, description="items of a thread the model is given, newest first"
    )
    max_tokens: int = Field(
        default=MAX_TOKENS,
        ge=500,
        le=10_000_000,
        description="tokens of history the model is given, guessed as a third of its bytes; keep it well below the "
        "model's window, which instructions, tools and the answer share",
    )


class TitleSettings(Table):
    by_model: bool = Field(
        default=True, description='let the model think of titles, beside the answer; not with provider "offline"'
    )
    timeout: float = Field(
        default=TITLE_TIMEOUT,
        gt=0,
        le=300,
        description="seconds for it; the first line of the message stands till then",
    )


class ComposerSettings(Table):
    # None: the default agent's own. Nobody else knows the tools of another agent: none are offered until listed.
    tools: tuple[str, ...] | None = Field(
        default=None, description="tools users may choose, by the agent's names for them; default: the default agent's"
    )
    models: tuple[str, ...] = Field(
        default=(), description="models users may choose, as the endpoint calls them; each costs what it costs"
    )


class AnswerSettings(Table):
    # Off: an operator may have put claims into the assertion (claims.extra) that are meant for the backend alone.
    show_context: bool = Field(
        default=False,
        description="begin each answer with a client effect `gateway.context`: user, page, request id and claims as "
        "the backend was told them, for demonstrations and debugging",
    )


class PageContextSettings(Table):
    max_bytes: int = Field(
        default=MAX_PAGE_BYTES, ge=0, le=1_000_000, description="bytes of page context the model is given"
    )


class UsageSettings(Table):
    # Beside the answer, so nobody waits for it; the shutdown does, for this long at most.
    write_timeout: float = Field(
        default=WRITE_TIMEOUT, gt=0, le=300, description="seconds to write down what one answer cost; then it is logged"
    )
    # Each holds a few hundred bytes until the database answers; what comes beyond is logged with its figures.
    max_pending: int = Field(
        default=MAX_PENDING, ge=1, le=1_000_000, description="such writes under way; what is beyond is logged"
    )


class TracingSettings(Table):
    export: bool = Field(default=False, description="send the Agents SDK's traces, without texts, to OpenAI")


class Settings(BaseSettings):
    """The settings of one backend."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    agent: Annotated[str, AfterValidator(check_name)] = Field(
        default=DEFAULT_AGENT, description='who answers: "package.module:function", called once per answer'
    )
    actions: Annotated[str, AfterValidator(check_name)] = Field(
        default=DEFAULT_ACTIONS, description='what buttons do: "package.module:TABLE", an ActionTable'
    )
    # It is part of what a user waits; a look-up or two take milliseconds.
    agent_timeout: float = Field(
        default=BUILD_TIMEOUT, gt=0, le=300, description="seconds an async function may take to build an agent"
    )
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    turns: TurnSettings = TurnSettings()
    gateway: GatewaySettings
    model: ModelSettings = ModelSettings()
    history: HistorySettings = HistorySettings()
    titles: TitleSettings = TitleSettings()
    composer: ComposerSettings = ComposerSettings()
    answer: AnswerSettings = AnswerSettings()
    page_context: PageContextSettings = PageContextSettings()
    usage: UsageSettings = UsageSettings()
    tracing: TracingSettings = TracingSettings()
    attachments: AttachmentSettings = AttachmentSettings()
    mcp: dict[McpName, McpSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over secrets over the file, and nothing else: a stray .env decides nothing."""
        directory = os.environ.get(DIRECTORY_VARIABLE)
        secrets = [SecretFiles(file_secret_settings, directory)] if directory else []
        return env_settings, *secrets, init_settings


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, or holds by name; None for a plain value."""
    candidates = [annotation, *get_args(annotation)]
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)
