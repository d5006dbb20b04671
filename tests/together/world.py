"""Issuer, gateway and agent backend, each on a real socket, and a browser that holds a cookie."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from agents import Model
from chatkit.types import ThreadStreamEvent
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agent_backend.app import build_app as build_backend
from agent_backend.settings import Settings as BackendSettings
from tests.support.issuer import Issuer
from tests.support.running import running_gateway
from tests.support.servers import free_port, serve
from tests.support.unlimited import NO_LIMITS

ORIGIN = "https://app.example.com"
EVENTS = TypeAdapter[ThreadStreamEvent](ThreadStreamEvent)


@dataclass(slots=True, kw_only=True)
class Browser:
    """One signed-in page: it sends its cookie and its origin, and cannot do otherwise."""

    url: str
    token: str
    page: Mapping[str, Any] = field(default_factory=dict)
    path: str = "/chatkit"
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, operation: str, **params: Any) -> httpx.Response:
        return httpx.post(
            self.url + self.path, content=self.body(operation, **params), headers=self.all_headers(), timeout=20
        )

    def session(self) -> httpx.Response:
        return httpx.get(f"{self.url}/session", headers=self.all_headers())

    def stream(self, operation: str, **params: Any) -> list[ThreadStreamEvent]:
        """The events of a streamed answer, decoded by ChatKit's own types."""
        answer = self.send(operation, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream"
        return decode(answer.content)

    def say(self, text: str, thread_id: str | None = None) -> list[ThreadStreamEvent]:
        message = user_input(text)
        if thread_id is None:
            return self.stream("threads.create", input=message)
        return self.stream("threads.add_user_message", thread_id=thread_id, input=message)

    def body(self, operation: str, **params: Any) -> bytes:
        metadata = {"pageContext": self.page} if self.page else {}
        return json.dumps({"type": operation, "params": params, "metadata": metadata}).encode()

    def all_headers(self) -> dict[str, str]:
        fixed = {"cookie": f"auth_token={self.token}", "origin": ORIGIN, "content-type": "application/json"}
        return {**fixed, **self.headers}


@dataclass(slots=True, kw_only=True)
class World:
    """What runs, and where."""

    issuer: Issuer
    gateway_url: str
    backend_url: str
    jwks_url: str

    def browser(self, subject: str = "alice", **options: Any) -> Browser:
        return Browser(url=self.gateway_url, token=self.issuer.token(subject), **options)


def user_input(text: str) -> dict[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def decode(stream: bytes) -> list[ThreadStreamEvent]:
    """Frames to events; what is neither a frame nor a heartbeat fails here."""
    frames = [frame.lstrip(b":\n") for frame in stream.split(b"\n\n")]
    return [EVENTS.validate_json(frame.removeprefix(b"data: ")) for frame in frames if frame]


def thread_id(events: list[ThreadStreamEvent]) -> str:
    """The thread that an answer created."""
    return next(event.thread.id for event in events if event.type == "thread.created")


def answer_text(events: list[ThreadStreamEvent]) -> str:
    """What the assistant said, from its finished messages."""
    items = [event.item for event in events if event.type == "thread.item.done"]
    return "".join(part.text for item in items if item.type == "assistant_message" for part in item.content)


def issuer_app(issuer: Issuer) -> Starlette:
    async def keys(request: Request) -> JSONResponse:
        return JSONResponse(issuer.jwks())

    return Starlette(routes=[Route("/jwks", keys)])


def gateway_toml(
    issuer: Issuer,
    jwks_url: str,
    backend_url: str,
    *,
    server: str = "",
    backend: str = "",
    route: str = "",
    limits: str = NO_LIMITS,
) -> str:
    return f"""
[server]
port = 0
drain_delay = 0
{server}
[issuers.main]
issuer = "{issuer.issuer}"
jwks_url = "{jwks_url}"
audiences = ["{issuer.audience}"]
fetch_timeout = 20  # for a busy machine, whose issuer is another thread
[backends.support]
url = "{backend_url}"
{backend}
[routes.support]
path = "/chatkit"
backend = "support"
cookie = "auth_token"
allowed_origins = ["{ORIGIN}"]
{limits}
{route}
"""


def backend_settings(folder: Path, gateway_url: str, audience: str = "support", **tables: Any) -> BackendSettings:
    given = {
        "database": {"url": f"sqlite:///{folder}/{audience}.sqlite3"},
        "gateway": {
            "jwks_url": f"{gateway_url}/.well-known/jwks.json",
            "issuer": gateway_url,
            "audience": audience,
        },
        "model": {"word_delay": 0.001},
    }
    return BackendSettings(**{**given, **tables})


@contextlib.contextmanager
def world(folder: Path, *, model: Model | None = None, route: str = "", **tables: Any) -> Iterator[World]:
    """One issuer, one gateway, one agent backend that trusts it; ``tables`` are of the backend's settings."""
    issuer = Issuer()
    port = free_port()
    with contextlib.ExitStack() as stack:
        jwks_url = stack.enter_context(serve(issuer_app(issuer))) + "/jwks"
        backend_url = f"http://127.0.0.1:{port}/chatkit"
        toml = gateway_toml(issuer, jwks_url, backend_url, route=route)
        gateway_url = stack.enter_context(running_gateway(folder, toml))
        settings = backend_settings(folder, gateway_url, **tables)
        stack.enter_context(serve(build_backend(settings, model=model), port=port))
        yield World(issuer=issuer, gateway_url=gateway_url, backend_url=backend_url, jwks_url=jwks_url)
