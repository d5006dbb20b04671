"""One request to a backend in this process, by a client that reads as it pleases and leaves when it likes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from tests.agent_backend.world import PATH, Caller, events_in


class Reader:
    """What was answered so far."""

    def __init__(self, app: ASGIApp, body: bytes, headers: dict[str, str]) -> None:
        self._app = app
        self._body = body
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._left = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_sent = False
        # Set once somebody looks whether this client is still there.
        self.watched = asyncio.Event()
        self.status = 0
        self.seen = b""

    async def run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": self._headers,
            "server": ("agent.test", 80),
        }
        await self._app(scope, self._receive, self._send)

    def leave(self) -> None:
        """Stop, a closed tab, a lost network: a server sees no difference."""
        self._left.set()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(10):
            while text.encode() not in self.seen:
                self._changed.clear()
                await self._changed.wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        return events_in(self.seen)

    @property
    def thread_id(self) -> str:
        """Of the thread this answer created."""
        return self.seen.split(b'"id":"')[1].split(b'"')[0].decode()

    async def _receive(self) -> Message:
        if not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        self.watched.set()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        if not self._left.is_set():
            self.seen += message.get("body", b"")
        self._changed.set()


@asynccontextmanager
async def reading(app: ASGIApp, caller: Caller, operation: str, **params: Any) -> AsyncIterator[Reader]:
    """The request is under way in the block, and has ended after it."""
    body = caller.body(operation, **params)
    reader = Reader(app, body, caller.headers(body))
    task = asyncio.create_task(reader.run())
    try:
        yield reader
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        await asyncio.wait([task])
