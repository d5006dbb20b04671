"""GET /metrics, on a listener of its own: no path that users can reach shows what the gateway counts.

The values are taken in the loop, between two events; the text is written in a thread, and the streams go on meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.errors import GatewayError, MethodNotAllowed, RouteNotFound
from gateway.metrics.exposition import render
from gateway.metrics.reading import Reading
from gateway.wire.answers import NO_STORE, send_problem
from gateway.wire.asgi import Receive, Scope, Send

PATH: Final = "/metrics"


class MetricsPage:
    """The ASGI app of the listener.

    Args:
        read: One reading for each process that there is or was.
        stale: Seconds after which a process that has not been heard of counts as gone.
        clock: Monotonic seconds.
    """

    def __init__(
        self, read: Callable[[], Sequence[Reading]], *, stale: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._stale = stale
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = _refusal(scope)
        if error is not None:
            await send_problem(send, error, "-", [])
            return
        accept = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
        fresh_since = self._clock() - self._stale
        text, content_type = await asyncio.to_thread(render, self._read(), accept, fresh_since=fresh_since)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(text)),
            NO_STORE,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text, "more_body": False})


def _refusal(scope: Scope) -> GatewayError | None:
    if scope["path"] != PATH:
        return RouteNotFound(f"only {PATH} is here")
    if scope["method"] not in ("GET", "HEAD"):
        return MethodNotAllowed(f"{scope['method']} on {PATH}", allowed=["GET", "HEAD"])
    return None
