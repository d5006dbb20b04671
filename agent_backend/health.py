"""Is the process alive; can it do its work, and if not, what is missing.

Rules: `/livez` touches nothing but the process: a database that is down is no reason to restart us. `/readyz` names
everything that is missing at once, in words an operator can act on, and is answered within a bound.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent_backend.store.schema import SchemaUnknown, check_schema
from agent_backend.trust import GatewayTrust

# Seconds for all checks. Probes give up after one to ten; a database slower than this cannot serve either.
TIMEOUT = 3.0

logger = logging.getLogger(__name__)


class Health:
    """Answers probes."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        trust: GatewayTrust,
        attachments: Callable[[], Awaitable[str]] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._engine = engine
        self._trust = trust
        self._attachments = attachments
        self._timeout = timeout

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """200 when the database answers with the schema we know and the gateway's keys can be had; else 503."""
        database, keys, attachments = await asyncio.gather(
            self._check_database(), self._check_keys(), self._check_attachments()
        )
        checks = {**database, "gateway_keys": keys, **attachments}
        is_ready = all(state == "ok" for state in checks.values())
        content = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return JSONResponse(content, status_code=200 if is_ready else 503)

    async def _check_database(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(self._timeout):
                await check_schema(self._engine)
        except SchemaUnknown as exc:
            return {"database": "ok", "schema": str(exc)}
        except Exception as exc:  # whatever the driver raises, the database cannot be used now
            logger.warning("database not reachable", extra={"error": type(exc).__name__})
            return {"database": "unreachable", "schema": "unknown"}
        return {"database": "ok", "schema": "ok"}

    async def _check_attachments(self) -> dict[str, str]:
        """Nothing at all while they are off."""
        if self._attachments is None:
            return {}
        try:
            async with asyncio.timeout(self._timeout):
                state = await self._attachments()
        except TimeoutError:
            state = "unavailable"
        return {} if state == "off" else {"attachments": state}

    async def _check_keys(self) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                return "ok" if await self._trust.warm_up() else "unavailable"
        except TimeoutError:
            return "unavailable"
