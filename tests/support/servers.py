"""Run an ASGI application on a real socket, in a thread, for as long as a test needs it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

# Seconds that answers have to end by themselves, once the server is told to.
LAST_WORDS = 0.1


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def serve(app: Any, *, port: int = 0, **options: Any) -> Iterator[str]:
    """Serve ``app`` on 127.0.0.1 and give its base URL; stopped, and its open connections cut, at the end.

    Args:
        port: 0 takes a free one.
    """
    sock = socket.create_server(("127.0.0.1", port))
    server = PromptServer(uvicorn.Config(app, log_config=None, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the test server did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.end()
        thread.join(10)
        sock.close()


class PromptServer(uvicorn.Server):
    """uvicorn's server, which ends when it is told: uvicorn's own looks ten times a second, and then waits as long.

    There are hundreds of them in a run of the tests.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """From another thread."""
        self.should_exit = True
        # Without a loop it never ran, and with a closed one it is over.
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A round a second keeps the clock of the `date` header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_WORDS)
        for task in list(self.server_state.tasks):
            task.cancel()
        await self.lifespan.shutdown()
