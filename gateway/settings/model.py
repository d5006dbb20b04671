"""The settings themselves: tables, their values, defaults and reasons. The README's reference is made from this.

Knows nothing of files or the environment.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.auth.credentials import MAX_PARTS
from gateway.settings.values import (
    Algorithm,
    CookieName,
    ForwardedHeader,
    KeysUrl,
    Network,
    OperationName,
    Origin,
    RoutePath,
    Seconds,
    TableName,
    Url,
)

PREFIX = "GATEWAY_"


class Table(BaseModel):
    """A table of the settings file: frozen, and no name in it but those below."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Table):
    """The listener, and what one client connection may cost."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: Origin | None = Field(
        None, description="What browsers see. An origin; default: http://host:port. Decides cross-site questions."
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list,
        description="Networks (CIDR) of proxies in front: from them, `X-Forwarded-For` says who the client is, in logs "
        "and to backends.",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with certificate and chain: the listener then speaks TLS."
    )
    tls_key: Path | None = Field(None, description="PEM file with its private key; default: in the same file.")
    tls_check: Seconds = Field(
        60, description="Seconds between looks at the two files: a renewed certificate is taken without a signal."
    )
    workers: int = Field(
        1, ge=1, le=256, description="Processes behind the port; one fills a core. Each counts limits for itself."
    )
    drain_delay: float = Field(
        5,
        ge=0,
        le=300,
        description="Seconds to go on accepting, not ready, after SIGTERM: until balancers have seen it.",
    )
    drain_timeout: Seconds = Field(30, description="Seconds that running streams may then go on.")
    head_timeout: Seconds = Field(10, description="Seconds until a request's headers are complete.")
    keep_alive: Seconds = Field(
        75, description="Seconds an idle client connection is kept: above the 60 s of common load balancers."
    )
    write_timeout: Seconds = Field(30, description="Seconds after which a client that takes nothing is cut off.")
    max_head: int = Field(
        32 * 1024, ge=1024, le=1024 * 1024, description="Bytes of request line and headers; split cookies need 10 KB."
    )
    max_headers: int = Field(100, ge=10, le=1000, description="Number of request headers.")
    backlog: int = Field(2048, ge=1, le=65535, description="Connections that may wait to be accepted.")
    verified_tokens: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Verified tokens remembered, about 2 KB each; the rest is verified again.",
    )
    max_streams: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Streams at once, of all users together; each holds two sockets and some 16 KB.",
    )
    kit: bool = Field(True, description="Serve the front-end kit at /kit/, to pages of every origin.")


class LogSettings(Table):
    """One structured line per request, on standard error."""

    format: Literal["json", "console"] = Field("json", description="json for machines, console for people.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least important line written.")
    sample_successes: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of successes that are logged, by request id; failures and refusals always are.",
    )


class MetricsSettings(Table):
    """Where Prometheus reads `/metrics`: a listener of its own, for nobody else."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int | None = Field(None, ge=1, le=65535, description="Port to listen on; without it there is no listener.")


class TracingSettings(Table):
    """Trace ids are in every log line and go on to backends. Spans are an extra: chatkit-gateway[tracing]."""

    endpoint: KeysUrl | None = Field(
        None, description="Where spans go, OTLP over HTTP: http://collector:4318/v1/traces. Without it there are none."
    )
    sample: float = Field(
        1.0, ge=0, le=1, description="Share of the traces that begin here which are recorded, by backends too."
    )


class TrustSettings(Table):
    """How backends recognise this gateway."""

    issuer: str | None = Field(None, description="`iss` of the assertions; default: server.public_url.")
    signing_keys: list[Path] = Field(
        default_factory=list,
        max_length=2,
        description="PEM files with EC P-256 private keys; the first signs, both are published. "
        "Default: a key that lives as long as the process, for one gateway alone.",
    )
    lifetime: int = Field(30, ge=5, le=60, description="Seconds an assertion is good for.")


class ClaimSettings(Table):
    """Which claim holds what; a dotted path reaches into objects (`realm_access.roles`)."""

    subject: str = Field("sub", description="Who the user is; unique at the issuer.")
    name: str = Field("name", description="Name for display.")
    email: str = Field("email", description="E-mail address.")
    roles: str = Field("roles", description="List, or string of words.")
    scopes: str = Field("scope", description="String of words, or list; for `require`. Some issuers say `scp`.")
    tenant: str | None = Field(
        None,
        description="Set it if one issuer serves several tenants: owners are told apart by it, and a token without it "
        "is refused.",
    )
    extra: list[str] = Field(
        default_factory=list, description="Further claims that backends are told, in the assertion's `claims`."
    )


class IssuerSettings(Table):
    """Who vouches for users. Exactly one of jwks_url, discovery_url and jwks_file."""

    issuer: str = Field(min_length=1, description="The token's `iss`, to the letter.")
    jwks_url: KeysUrl | None = Field(None, description="Where the keys are.")
    discovery_url: KeysUrl | None = Field(
        None, description="The issuer's .well-known/openid-configuration, which names the keys."
    )
    jwks_file: Path | None = Field(None, description="Keys from a file, read again at each refresh.")
    audiences: list[str] = Field(min_length=1, description="Accepted values of `aud`; one must match.")
    algorithms: list[Algorithm] = Field(
        default_factory=lambda: ["RS256", "ES256"], min_length=1, description="Accepted signature algorithms."
    )
    claims: ClaimSettings = Field(default_factory=ClaimSettings, description="Claim mapping.")
    leeway: float = Field(30, ge=0, le=60, description="Seconds of clock difference forgiven.")
    fetch_timeout: Seconds = Field(5, description="Seconds for one fetch of the keys.")
    refresh: Seconds = Field(300, description="Seconds between fetches when the issuer gives no max-age.")
    keep: float = Field(
        24 * 3600, gt=0, le=30 * 24 * 3600, description="Seconds the last good keys serve while fetches fail."
    )
    cooldown: Seconds = Field(10, description="Seconds between fetches for unknown keys, at least.")


class BackendSettings(Table):
    """A ChatKit server behind the gateway. Exactly one of url and urls."""

    url: Url | None = Field(None, description="Where it is: http:// or https:// with path.")
    urls: list[Url] = Field(
        default_factory=list, description="Where its replicas are: the same path, each at a host and port of its own."
    )
    eject_after: int = Field(3, ge=1, le=1000, description="Failures in a row after which a replica gets no requests.")
    eject_for: Seconds = Field(
        10, description="Seconds until an ejected replica is tried with a request; its answer brings it back."
    )
    sticky: Literal["none", "thread"] = Field(
        "none",
        description="thread: what names a thread goes to one replica while that is fit; none: to the least busy one.",
    )
    socket: Path | None = Field(None, description="Connect to this Unix socket; url then gives Host and path.")
    ca_file: Path | None = Field(None, description="PEM file with the CA of an https backend; default: the system's.")
    audience: str | None = Field(None, description="`aud` of the assertions; default: the table's name.")
    connect_timeout: Seconds = Field(5, description="Seconds until the connection stands.")
    first_byte_timeout: Seconds = Field(120, description="Seconds until the answer begins: a model may think first.")
    idle_timeout: Seconds = Field(120, description="Seconds of silence in the middle of an answer.")
    total_timeout: Seconds = Field(
        3600, description="Seconds for a whole answer: one that never ends is cut, however lively it is."
    )
    keep_alive: Seconds = Field(
        4, description="Seconds an idle connection is kept: below the backend's own limit (uvicorn: 5)."
    )
    max_connections: int = Field(
        10_000, ge=1, description="Connections at once, to each replica; every open stream holds one."
    )

    @property
    def replicas(self) -> list[str]:
        """Every URL that it is at."""
        return [self.url] if self.url is not None else self.urls

    def at(self, url: str) -> "BackendSettings":
        """The same with this one replica."""
        return self.model_copy(update={"url": url, "urls": []})


class RequireSettings(Table):
    """What a user must have. Under `require` for every request, under `rules.OPERATION` for one operation besides."""

    scopes: list[str] = Field(default_factory=list, description="All of these.")
    roles: list[str] = Field(default_factory=list, description="One of these.")
    claims: dict[str, list[str]] = Field(
        default_factory=dict, description="Of each of these claims one of the values; dotted paths reach into objects."
    )


class SignedUrlSettings(Table):
    """Keys of signed URLs, shared with the backends that make them."""

    keys: list[Annotated[SecretStr, Field(min_length=32)]] = Field(
        default_factory=list,
        max_length=4,
        description="Secrets of at least 32 characters, oldest first: the last signs, all are accepted.",
    )
    max_minutes: int = Field(60, ge=1, le=7 * 24 * 60, description="Longest permission accepted, whoever signed it.")


class LimitSettings(Table):
    """What one user may have on a route, in each process: some ten times what a busy person makes. 0 is no limit."""

    answers_per_minute: int = Field(
        60,
        ge=0,
        description="Requests that run a model: messages, retries, speech. All of them may come at once.",
    )
    reads_per_minute: int = Field(1200, ge=0, description="Requests that only read; downloads too.")
    writes_per_minute: int = Field(300, ge=0, description="All other requests; uploads too.")
    open_streams: int = Field(20, ge=0, description="Answers being given at the same time.")


class RouteSettings(Table):
    """A path, bound to a backend."""

    path: RoutePath = Field(description="Exact path; with `prefix` it ends with / and stands for everything below it.")
    kind: Literal["chatkit", "opaque"] = Field(
        "chatkit", description="opaque passes uploads and downloads through, unread."
    )
    prefix: bool = Field(
        False, description="Everything below path; the rest goes on behind the backend's path. Opaque."
    )
    methods: list[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]] = Field(
        default_factory=list, description="Methods of an opaque route; ChatKit is POST."
    )
    credential: Literal["token", "signed_url"] = Field(
        "token", description="token: cookie or bearer. signed_url: a `signature` in the query. Opaque."
    )
    backend: str = Field(description="Name of a [backends] table.")
    cookie: CookieName | None = Field(None, description="Cookie with the token; also name.0, name.1 … .")
    bearer: bool = Field(True, description="Accept Authorization: Bearer too.")
    forward_token: bool = Field(True, description="Send the user's token on as Authorization: Bearer.")
    allowed_origins: list[Origin] = Field(
        default_factory=list, description="Origins of pages that may use the route, besides server.public_url."
    )
    issuers: list[str] | None = Field(None, description="Names of [issuers] tables; default: all.")
    operations: list[OperationName] | None = Field(None, description="ChatKit operations; default: all.")
    forward_headers: list[ForwardedHeader] = Field(
        default_factory=list, description="Further client headers to send on."
    )
    max_body: int = Field(
        1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="Bytes of a request body; on an opaque route it is streamed.",
    )
    max_answer: int = Field(
        100 * 1024 * 1024, ge=1024, description="Bytes of an answer on an opaque route: the largest file."
    )
    max_metadata: int = Field(
        32 * 1024,
        ge=0,
        le=1024 * 1024,
        description="Bytes of the client's own metadata: page context needs 2 to 20 KB.",
    )
    max_depth: int = Field(
        64,
        ge=8,
        le=512,
        description="Levels of nesting of a ChatKit body: widget trees have some ten, parsers stop at 128.",
    )
    max_token: int = Field(
        16 * 1024, ge=256, le=64 * 1024, description=f"Bytes of a token; {MAX_PARTS} cookie parts hold 40 KB."
    )
    body_timeout: Seconds = Field(30, description="Seconds until the request body is complete.")
    heartbeat: float = Field(
        15, ge=0.05, le=60, description="Seconds of silence before a heartbeat: below the 60 s idle cut of proxies."
    )
    expiry_grace: float = Field(
        300,
        ge=0,
        le=24 * 3600,
        description="Seconds a stream may go on after the token that opened it has expired; 0 cuts it then.",
    )
    max_event_tail: int = Field(
        64 * 1024, ge=1024, description="Bytes of an unfinished event held back; a longer one flows as it comes."
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one user may have.")
    require: RequireSettings = Field(default_factory=RequireSettings, description="What every user must have.")
    rules: dict[OperationName, RequireSettings] = Field(
        default_factory=dict, description='What an operation asks for besides: `[routes.NAME.rules."threads.delete"]`.'
    )


class Settings(BaseSettings):
    """Everything."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    server: ServerSettings = Field(default_factory=ServerSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    trust: TrustSettings = Field(default_factory=TrustSettings)
    signed_urls: SignedUrlSettings = Field(default_factory=SignedUrlSettings)
    issuers: dict[TableName, IssuerSettings] = Field(min_length=1)
    backends: dict[TableName, BackendSettings] = Field(min_length=1)
    routes: dict[TableName, RouteSettings] = Field(min_length=1)

    @property
    def public_url(self) -> str:
        """What browsers see, as they would send it in `Origin`."""
        if self.server.public_url is not None:
            return self.server.public_url
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        scheme, port = ("https", 443) if self.server.tls_certificate else ("http", 80)
        return f"{scheme}://{host}" if self.server.port == port else f"{scheme}://{host}:{self.server.port}"
