"""A gateway for tests: it mints assertions, publishes its keys, and asks backends as the true one would."""

import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agent_backend.context import PageContext, RequestContext, User
from agent_backend.settings import Settings
from tests.support.issuer import SigningKey, encode, signing_key
from tests.support.servers import serve

ISSUER = "gateway.test"
AUDIENCE = "support"
PATH = "/chatkit"


@dataclass(slots=True, kw_only=True)
class Gateway:
    """Who the backend trusts."""

    key: SigningKey = field(default_factory=lambda: signing_key("ES256", kid="g1"))
    fetches: int = 0

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.jwk()]}

    def app(self) -> Starlette:
        async def keys(request: Request) -> JSONResponse:
            self.fetches += 1
            return JSONResponse(self.jwks())

        return Starlette(routes=[Route("/.well-known/jwks.json", keys)])

    def claims(self, body: bytes, *, user: str = "alice", path: str = PATH, **changes: Any) -> dict[str, Any]:
        """Good claims about one request; a change to None removes a claim."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "user_issuer": "https://login.test",
            "name": user.capitalize(),
            "email": f"{user}@example.test",
            "roles": ["user"],
            "request_id": f"req-{secrets.token_hex(4)}",
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(16),
            "req": {"method": "POST", "path": path, "sha256": hashlib.sha256(body).hexdigest()},
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def assertion(
        self,
        body: bytes,
        *,
        header: Mapping[str, Any] | None = None,
        key: SigningKey | None = None,
        **changes: Any,
    ) -> str:
        key = key or self.key
        full = {"alg": "ES256", "kid": key.kid, "typ": "gateway-assertion+jwt", **(header or {})}
        return encode(full, self.claims(body, **changes), key)

    def headers(self, body: bytes, **changes: Any) -> dict[str, str]:
        return {"x-gateway-assertion": self.assertion(body, **changes), "content-type": "application/json"}


@dataclass(slots=True, kw_only=True)
class World:
    """One gateway, where its keys are, and settings that trust it."""

    gateway: Gateway
    jwks_url: str
    folder: Path

    def settings(self, **changes: Any) -> Settings:
        tables: dict[str, Any] = {
            "database": {"url": f"sqlite:///{self.folder}/agent.sqlite3"},
            "gateway": {"jwks_url": self.jwks_url, "issuer": ISSUER, "audience": AUDIENCE},
            "model": {"word_delay": 0},
        }
        return Settings(**{**tables, **changes})


@contextmanager
def build_world(folder: Path) -> Iterator[World]:
    gateway = Gateway()
    with serve(gateway.app()) as url:
        yield World(gateway=gateway, jwks_url=f"{url}/.well-known/jwks.json", folder=folder)


def url_of(engine: AsyncEngine) -> str:
    """The URL of a test's database, as a setting; a socket's folder is the host there."""
    if engine.dialect.name == "sqlite":
        return f"sqlite:///{engine.url.database}"
    return f"postgresql://postgres@/{engine.url.database}?host={engine.url.host}"


@asynccontextmanager
async def running_app(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A started backend, asked in this process."""
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://agent.test")
    async with app.router.lifespan_context(app), client as http:
        yield http


@dataclass(slots=True, kw_only=True)
class Caller:
    """One user asking one backend through the gateway."""

    gateway: Gateway
    http: httpx.AsyncClient
    user: str = "alice"
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)

    async def send(self, operation: str, **params: Any) -> httpx.Response:
        body = self.body(operation, **params)
        return await self.http.post(PATH, content=body, headers=self.headers(body))

    async def stream(self, operation: str, **params: Any) -> list[dict[str, Any]]:
        """The events of one streamed answer."""
        response = await self.send(operation, **params)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return events_in(response.content)

    async def say(self, text: str, *, thread_id: str | None = None, **input_changes: Any) -> list[dict[str, Any]]:
        message = user_input(text, **input_changes)
        if thread_id is None:
            return await self.stream("threads.create", input=message)
        return await self.stream("threads.add_user_message", thread_id=thread_id, input=message)

    def body(self, operation: str, **params: Any) -> bytes:
        return json.dumps({"type": operation, "params": params, "metadata": self.metadata}).encode()

    def headers(self, body: bytes) -> dict[str, str]:
        return self.gateway.headers(body, user=self.user, **self.claims)


def user_input(text: str, **changes: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"content": content, "attachments": [], "inference_options": {}, **changes}


def events_in(stream: bytes) -> list[dict[str, Any]]:
    """Every event of an answer; what is no whole `data:` frame fails here."""
    assert stream.endswith(b"\n\n"), stream[-80:]
    frames = stream.split(b"\n\n")[:-1]
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def thread_of(events: list[dict[str, Any]]) -> str:
    """The id of the thread an answer created."""
    return next(str(event["thread"]["id"]) for event in events if event["type"] == "thread.created")


def answer_in(events: list[dict[str, Any]]) -> str:
    """What the assistant said, from its finished messages."""
    done = [event["item"] for event in events if event["type"] == "thread.item.done"]
    said = [item for item in done if item["type"] == "assistant_message"]
    return "\n".join(part["text"] for item in said for part in item["content"])


def context_for(name: str = "alice", *, page: PageContext | None = None, **changes: Any) -> RequestContext:
    """A verified request of one user."""
    user = {"id": name, "issuer": "https://login.test", "name": name.capitalize(), **changes}
    return RequestContext(user=User(**user), request_id="req-1", page=page)
