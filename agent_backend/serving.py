"""The process that answers: how it starts, and how it ends.

Rules: a database that is not there yet is waited for, so that both may be started together; one with another schema is
not. One line when ready. A drained stop is status 0; a second signal ends at once.
"""

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from agent_backend.app import build_app, engine_of
from agent_backend.settings import Settings
from agent_backend.store.database import is_outage, kind_of
from agent_backend.store.schema import SchemaUnknown, ensure_schema

# Seconds between two attempts to reach a database that is starting.
RETRY_INTERVAL = 0.5

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serve until told to stop. Prints one line when ready."""
    problem = asyncio.run(prepare(settings))
    if problem:
        print(f"agent_backend: {problem}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        build_app(settings),
        host=settings.server.host,
        port=settings.server.port,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.server.drain_timeout),
    )
    server = Server(config, settings)
    server.run()
    return 0 if server.started else 1


async def prepare(settings: Settings) -> str | None:
    """The reason not to start, or None."""
    engine = engine_of(settings)
    try:
        await patiently(lambda: ensure_schema(engine), patience=patience_of(settings))
    except SchemaUnknown as exc:
        return str(exc)
    except Exception as exc:  # each driver raises its own when it cannot connect
        return unusable(exc)
    finally:
        await engine.dispose()
    return None


def patience_of(settings: Settings) -> float:
    """Seconds to wait for the database. A file is there, or is not."""
    return 0.0 if settings.database.url.get_secret_value().startswith("sqlite") else settings.database.start_timeout


async def patiently(work: Callable[[], Awaitable[None]], *, patience: float) -> None:
    """Try until the database can be used; then, or after ``patience`` seconds, let the exception out."""
    deadline, is_told = time.monotonic() + patience, False
    while True:
        try:
            return await work()
        except Exception as exc:
            if not is_outage(exc) or time.monotonic() > deadline - RETRY_INTERVAL:
                raise
            if not is_told:
                logger.warning("waiting for the database", extra={"error": type(exc).__name__, "seconds": patience})
            is_told = True
        await asyncio.sleep(RETRY_INTERVAL)


def unusable(exc: Exception) -> str:
    """The driver's own words, without the statement SQLAlchemy adds."""
    reason = getattr(exc, "orig", None) or exc
    return f"the database cannot be used: {type(reason).__name__}: {reason}; see [database] url"


class Server(uvicorn.Server):
    """uvicorn's server, with an end that supervisors understand.

    uvicorn 0.54 raises the signal again after a clean stop, so that the status is 143, and takes no notice of a second
    SIGTERM. Here a drained stop is 0, and a second signal, of either kind, ends the process at once.
    """

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            print(ready_line(self._settings, self.port), flush=True)

    @property
    def port(self) -> int:
        """Where it really listens: port 0 asks the system to choose."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # asked twice: no draining, no destructors
        self.should_exit = True


def ready_line(settings: Settings, port: int) -> str:
    database = kind_of(engine_of(settings))
    address = f"http://{settings.server.host}:{port}{settings.server.path}"
    return f"agent_backend ready on {address} (model: {settings.model.provider}, database: {database})"
