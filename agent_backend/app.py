"""The composition root: settings in, ASGI app out.

Reads as a list: what is made, from what, and what answers where. Rules: everything dear is made once, at start or
before; the first user waits for nothing that could have been done earlier. Only this module and `__main__` know the
settings.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents import Model
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent_backend.access_log import AccessLog
from agent_backend.agent import build_agent
from agent_backend.endpoint import ChatEndpoint
from agent_backend.models import ModelChoice, ModelConnection, build_model, build_run_config
from agent_backend.problems import Problem
from agent_backend.rehearsal import rehearse
from agent_backend.server import AssistantServer
from agent_backend.settings import Settings
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.database import kind_of
from agent_backend.store.replays import SqlReplays
from agent_backend.store.schema import current_revision, ensure_schema, known_revision
from agent_backend.trust import GatewayTrust

logger = logging.getLogger(__name__)


def build_app(settings: Settings, *, model: Model | None = None) -> Starlette:
    """One backend. ``model`` stands in for the one the settings choose."""
    engine = engine_of(settings)
    trust = GatewayTrust(
        jwks_url=str(settings.gateway.jwks_url),
        issuer=settings.gateway.issuer,
        audience=settings.gateway.audience,
        leeway=settings.gateway.leeway,
        max_body=settings.server.max_body,
        max_page=settings.page_context.max_bytes,
        # A shared database means replicas: what one has seen, all must know. A file means this process alone.
        replays=SqlReplays(engine=engine) if kind_of(engine) == "postgresql" else None,
    )
    choice = model_choice(settings)
    connection = ModelConnection(model=model) if model else build_model(choice)
    server = AssistantServer(
        store=SqlStore(engine=engine),
        agent=build_agent(connection.model),
        run_config=build_run_config(export_traces=settings.tracing.export, api_key=choice.api_key),
        max_items=settings.history.max_items,
    )
    health = Health(engine=engine, trust=trust)

    chat = ChatEndpoint(trust=trust, server=server)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await ensure_schema(engine)  # opens the first connection, too
        await rehearse()
        if not await trust.warm_up():
            logger.warning("no keys of the gateway yet", extra={"url": str(settings.gateway.jwks_url)})
        yield
        await chat.finish()
        await server.finish_savings()
        await connection.aclose()
        await trust.aclose()
        await engine.dispose()

    return Starlette(
        routes=[
            Route(settings.server.path, chat.answer, methods=["POST"]),
            Route("/livez", health.live),
            Route("/readyz", health.ready),
        ],
        middleware=[Middleware(AccessLog)],
        exception_handlers={HTTPException: answer_http_exception},
        lifespan=lifespan,
    )


def engine_of(settings: Settings) -> AsyncEngine:
    database = settings.database
    return build_engine(
        database.url.get_secret_value(), pool_size=database.pool_size, pool_timeout=database.pool_timeout
    )


def model_choice(settings: Settings) -> ModelChoice:
    model = settings.model
    return ModelChoice(
        provider=model.provider,
        base_url=str(model.base_url) if model.base_url else None,
        api_key=model.api_key.get_secret_value() if model.api_key else None,
        name=model.name,
        api=model.api,
        timeout=model.timeout,
        word_delay=model.word_delay,
    )


class Health:
    """Is the process alive; can it do its work."""

    def __init__(self, *, engine: AsyncEngine, trust: GatewayTrust) -> None:
        self._engine = engine
        self._trust = trust

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """200 when the database answers with the schema we know and the gateway's keys can be had; else 503."""
        checks = {"database": await self._check_database(), "gateway_keys": await self._check_keys()}
        is_ready = all(state == "ok" for state in checks.values())
        content = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return JSONResponse(content, status_code=200 if is_ready else 503)

    async def _check_database(self) -> str:
        try:
            revision = await current_revision(self._engine)
        except Exception as exc:  # whatever the driver raises, the database cannot be used now
            logger.warning("database not reachable", extra={"error": type(exc).__name__})
            return "unreachable"
        return "ok" if revision == known_revision() else "schema unknown"

    async def _check_keys(self) -> str:
        return "ok" if await self._trust.warm_up() else "unavailable"


class HttpProblem(Problem):
    """What the router itself refuses: another path, another method."""

    def __init__(self, exc: HTTPException) -> None:
        super().__init__(exc.detail)
        self.status = exc.status_code
        self.code = {404: "no_such_path", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
        self.message = exc.detail
        self.headers = exc.headers or {}


async def answer_http_exception(request: Request, exc: Exception) -> Response:
    problem = HttpProblem(exc) if isinstance(exc, HTTPException) else Problem(repr(exc))
    return problem.response(request.headers.get("x-request-id"))
