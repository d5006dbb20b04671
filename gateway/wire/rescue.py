"""Where every exception ends: error in, answer out, here and nowhere else.

Rules: a known error gives its own answer; anything else is a bug, logged with its traceback and answered as one. An
answer that has begun cannot be taken back: it is left unfinished, and the server closes the connection.

Requests that have had their time when the process shuts down end here too: a client still sending, a connection being
made. Streams are ended from the backend's side, with an event; what is left is cancelled, and answered as `Draining`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gateway.errors import ClientDisconnected, Draining, GatewayError, InternalError, Limited
from gateway.wire.answers import send_problem, send_stream_error
from gateway.wire.asgi import App, Receive, Scope, Send, task_of
from gateway.wire.record import RequestRecord, record_of

logger = logging.getLogger("gateway.error")


class Rescue:
    """Turns what the app raises into an answer.

    Args:
        app: What to watch.
        stream_error: The bytes of an event that tells a streaming client of an error; given error and request id.
    """

    def __init__(self, app: App, *, stream_error: Callable[[GatewayError, str], bytes]) -> None:
        self._app = app
        self._stream_error = stream_error
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record, task = record_of(scope), task_of(scope)
        self._tasks.add(task)
        try:
            try:
                await self._app(scope, receive, send)
            finally:
                self._tasks.discard(task)
        except GatewayError as exc:
            await self._answer(exc, record, send)
        except asyncio.CancelledError:
            # Ours, and nobody else's besides: the server's own deadline stays a cancellation.
            if task is None or not self._is_over or task.uncancel():
                raise
            await self._answer(Draining("time to finish is up"), record, send)
        except Exception as exc:
            logger.exception("unexpected error", extra={"fields": {"request_id": record.request_id}})
            await self._answer(InternalError(f"{type(exc).__name__}"), record, send)

    def end_all(self) -> None:
        """Time is up for whoever is still here."""
        self._is_over = True
        for task in self._tasks:
            if task is not None:
                task.cancel()

    async def _answer(self, error: GatewayError, record: RequestRecord, send: Send) -> None:
        record.failure = error
        if record.status is not None or isinstance(error, ClientDisconnected):
            return
        if record.streaming and (error.status >= 500 or isinstance(error, Limited)):
            frame = self._stream_error(error, record.request_id)
            await send_stream_error(send, frame, record.answer_headers)
        else:
            await send_problem(send, error, record.request_id, record.answer_headers)
