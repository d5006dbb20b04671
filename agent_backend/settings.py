"""One typed model of everything that can be set: a TOML file, and the environment over it.

Rules: every limit and time-out has its unit and its reason here. Unknown keys and unknown ``AGENT_BACKEND_*`` variables
are refused, because a misspelled limit is no limit. All problems are reported at once, each with what to do.

    AGENT_BACKEND_SERVER__PORT=9001        overrides [server] port
    DATABASE_URL                           stands in for [database] url where neither file nor variable sets it
    AGENT_BACKEND_SETTINGS                 names the file
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent_backend.access_log import LogFormat
from agent_backend.context import MAX_PAGE_BYTES
from agent_backend.models import Api, Provider
from agent_backend.offline_model import WORD_DELAY
from agent_backend.server import MAX_ITEMS
from agent_backend.store.database import POOL_SIZE, POOL_TIMEOUT, database_url
from agent_backend.trust import MAX_BODY

PREFIX = "AGENT_BACKEND_"


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
    api_key: SecretStr | None = Field(default=None, description="better in AGENT_BACKEND_MODEL__API_KEY than in a file")
    name: str | None = Field(default=None, description="which model, as the endpoint calls it")
    api: Api = Field(
        default="responses", description='"responses", or "chat_completions" for most compatible endpoints'
    )
    # A reasoning model may think for a minute before its first token; nobody waits longer.
    timeout: float = Field(default=60.0, gt=0, le=3600, description="seconds without anything from the model")
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


class PageContextSettings(Table):
    max_bytes: int = Field(
        default=MAX_PAGE_BYTES, ge=0, le=1_000_000, description="bytes of page context the model is given"
    )


class TracingSettings(Table):
    export: bool = Field(default=False, description="send the Agents SDK's traces, without texts, to OpenAI")


class Settings(BaseSettings):
    """The settings of one backend."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    gateway: GatewaySettings
    model: ModelSettings = ModelSettings()
    history: HistorySettings = HistorySettings()
    page_context: PageContextSettings = PageContextSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file, and nothing else: a stray .env decides nothing."""
        return env_settings, init_settings
