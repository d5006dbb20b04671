"""The command line.

    agent_backend serve --settings FILE      serve until SIGTERM or SIGINT; a second one ends at once
    agent_backend migrate --settings FILE    bring the database to this version's schema

Exit status: 0 after a drained stop, 1 when it could not start, 2 for bad settings, with every problem on stderr.
"""

import argparse
import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from agent_backend.access_log import configure_logging
from agent_backend.app import build_app, engine_of
from agent_backend.settings import Settings
from agent_backend.settings_file import FILE_VARIABLE, BadSettings, load_settings
from agent_backend.store.database import kind_of
from agent_backend.store.schema import SchemaUnknown, ensure_schema, known_revision, migrate


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        settings = load_settings(options.settings)
    except BadSettings as exc:
        print("agent_backend: these settings cannot be used:", file=sys.stderr)
        for problem in exc.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 2
    configure_logging(settings.server.log_format)
    command = {"serve": serve, "migrate": run_migrations}[options.command]
    return command(settings)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agent_backend", description="A ChatKit backend that trusts its gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {"serve": "answer requests", "migrate": "bring the database's schema up to date"}.items():
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--settings",
            type=Path,
            default=os.environ.get(FILE_VARIABLE),
            metavar="FILE",
            help=f"a TOML file; default: ${FILE_VARIABLE}",
        )
    options = parser.parse_args(arguments)
    options.settings = Path(options.settings) if options.settings else None
    return options


def serve(settings: Settings) -> int:
    """Serve until told to stop. Prints one line when ready."""
    problem = asyncio.run(check_schema(settings))
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


async def check_schema(settings: Settings) -> str | None:
    """The reason not to start, or None."""
    engine = engine_of(settings)
    try:
        await ensure_schema(engine)
    except SchemaUnknown as exc:
        return str(exc)
    except Exception as exc:  # each driver raises its own when it cannot connect
        return unreachable(exc)
    finally:
        await engine.dispose()
    return None


def run_migrations(settings: Settings) -> int:
    async def run() -> None:
        engine = engine_of(settings)
        try:
            await migrate(engine)
        finally:
            await engine.dispose()

    try:
        asyncio.run(run())
    except Exception as exc:  # each driver raises its own when it cannot connect
        print(f"agent_backend: {unreachable(exc)}", file=sys.stderr)
        return 1
    print(f"agent_backend migrated ({kind_of(engine_of(settings))}, schema {known_revision()})", flush=True)
    return 0


def unreachable(exc: Exception) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
