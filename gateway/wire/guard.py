"""Ends requests that have had their time when the process shuts down: a client still sending, a connection being made.

Streams are ended from the backend's side, with an event. What is left is cancelled here, and the cancellation becomes
`Draining`, so that it is answered like every other error.
"""

import asyncio
from typing import Any

from gateway.errors import Draining
from gateway.wire.asgi import App, Receive, Scope, Send, task_of


class DrainGuard:
    """Watches every request of ``app``."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = task_of(scope) if scope["type"] == "http" else None
        if task is None:
            await self._app(scope, receive, send)
            return
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # Ours, and nobody else's besides: uvicorn's own deadline stays a cancellation.
            if self._is_over and task.uncancel() == 0:
                raise Draining("time to finish is up") from None
            raise
        finally:
            self._tasks.discard(task)

    def end_all(self) -> None:
        """Time is up for whoever is still here."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
