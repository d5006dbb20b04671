"""Where every exception ends: error in, answer out, here and nowhere else.

Rules: a known error gives its own answer; anything else is a bug, logged with its traceback and answered as one. An
answer that has begun cannot be taken back: it is left unfinished, and the server closes the connection.
"""

import logging
from collections.abc import Callable

from gateway.errors import ClientDisconnected, GatewayError, InternalError, Limited
from gateway.wire.answers import send_problem, send_stream_error
from gateway.wire.asgi import App, Receive, Scope, Send
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            await self._app(scope, receive, send)
        except GatewayError as exc:
            await self._answer(exc, record, send)
        except Exception as exc:
            logger.exception("unexpected error", extra={"fields": {"request_id": record.request_id}})
            await self._answer(InternalError(f"{type(exc).__name__}"), record, send)

    async def _answer(self, error: GatewayError, record: RequestRecord, send: Send) -> None:
        record.failure = error
        if record.status is not None or isinstance(error, ClientDisconnected):
            return
        if record.streaming and (error.status >= 500 or isinstance(error, Limited)):
            frame = self._stream_error(error, record.request_id)
            await send_stream_error(send, frame, record.answer_headers)
        else:
            await send_problem(send, error, record.request_id, record.answer_headers)
