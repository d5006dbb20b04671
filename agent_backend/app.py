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
from starlette.responses import Response
from starlette.routing import Route

from agent_backend.access_log import AccessLog
from agent_backend.attachments import build_attachments
from agent_backend.choices import Choices
from agent_backend.endpoint import ChatEndpoint
from agent_backend.health import Health
from agent_backend.mcp import McpServers
from agent_backend.models import ModelChoice, ModelConnection, build_model, build_run_config
from agent_backend.patient_model import Patience
from agent_backend.plugin import DEFAULT_AGENT, in_time, load_actions, load_agent
from agent_backend.problems import Problem
from agent_backend.rehearsal import rehearse
from agent_backend.server import AssistantServer
from agent_backend.settings import Settings
from agent_backend.store import Leases, build_engine
from agent_backend.store.database import STATEMENT_TIMEOUT, kind_of
from agent_backend.store.replays import SqlReplays
from agent_backend.store.schema import ensure_schema
from agent_backend.store.swaps import SqlSwaps
from agent_backend.store.usage import SqlUsage
from agent_backend.titles import TitleWriter
from agent_backend.tools import TOOL_NAMES
from agent_backend.trust import GatewayTrust
from agent_backend.usage import UsageCounter

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
    usage = UsageCounter(
        store=SqlUsage(engine=engine),
        write_timeout=settings.usage.write_timeout,
        max_pending=settings.usage.max_pending,
    )
    run_config = build_run_config(
        export_traces=settings.tracing.export,
        api_key=choice.api_key,
        provider=connection.provider,
        include_usage=choice.include_usage,
    )
    titles = TitleWriter(
        model=connection.model,
        run_config=run_config,
        store=SqlSwaps(engine=engine),
        usage=usage,
        timeout=settings.titles.timeout,
    )
    mcp = McpServers(table.choice(name) for name, table in settings.mcp.items())
    attachments = build_attachments(settings.attachments, engine=engine, trust=trust)
    server = AssistantServer(
        store=attachments.store,
        build_agent=in_time(load_agent(settings.agent), timeout=settings.agent_timeout),
        model=connection.model,
        run_config=run_config,
        max_items=settings.history.max_items,
        max_tokens=settings.history.max_tokens,
        actions=load_actions(settings.actions),
        choices=composer_choices(settings, connection),
        titles=titles if settings.titles.by_model and choice.provider != "offline" else None,
        usage=usage,
        leases=Leases(engine=engine, seconds=settings.turns.lease, wait=settings.turns.wait),
        mcp=mcp,
        attachment_store=attachments.desk,
        prepare_attachments=attachments.prepare,
        show_context=settings.answer.show_context,
    )
    health = Health(engine=engine, trust=trust, attachments=attachments.check)

    chat = ChatEndpoint(trust=trust, server=server)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        mcp.warn()
        await ensure_schema(engine)  # opens the first connection, too
        await rehearse()
        if not await trust.warm_up():
            logger.warning("no keys of the gateway yet", extra={"url": str(settings.gateway.jwks_url)})
        async with attachments.running():
            yield
        await chat.finish()
        await mcp.aclose()
        await titles.finish()
        await usage.finish()
        await connection.aclose()
        await trust.aclose()
        await engine.dispose()

    return Starlette(
        routes=[
            Route(settings.server.path, chat.answer, methods=["POST"]),
            *attachments.routes,
            Route("/livez", health.live),
            Route("/readyz", health.ready),
        ],
        middleware=[Middleware(AccessLog)],
        exception_handlers={HTTPException: answer_http_exception},
        lifespan=lifespan,
    )


def engine_of(settings: Settings, *, statement_timeout: float | None = STATEMENT_TIMEOUT) -> AsyncEngine:
    database = settings.database
    return build_engine(
        database.url.get_secret_value(),
        pool_size=database.pool_size,
        pool_timeout=database.pool_timeout,
        statement_timeout=statement_timeout,
    )


def model_choice(settings: Settings) -> ModelChoice:
    model = settings.model
    return ModelChoice(
        provider=model.provider,
        base_url=str(model.base_url) if model.base_url else None,
        api_key=model.api_key.get_secret_value() if model.api_key else None,
        name=model.name,
        api=model.api,
        include_usage=model.include_usage,
        connect_timeout=model.connect_timeout,
        patience=Patience(
            first_token_timeout=model.first_token_timeout,
            token_timeout=model.token_timeout,
            answer_timeout=model.answer_timeout,
            retries=model.retries,
            retry_wait=model.retry_wait,
            max_retry_wait=model.max_retry_wait,
        ),
        word_delay=model.word_delay,
    )


def composer_choices(settings: Settings, connection: ModelConnection) -> Choices:
    """What users may choose: what is listed; without a list of tools, the default agent's own."""
    tools = settings.composer.tools
    if tools is None:
        tools = TOOL_NAMES if settings.agent == DEFAULT_AGENT else ()
    return Choices(
        tools=frozenset(tools),
        models={name: connection.provider.get_model(name) for name in settings.composer.models},
    )


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
