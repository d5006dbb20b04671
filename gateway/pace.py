"""A small stream in even steps, without a backend: what stands in front shows by it whether it holds events back.

`gateway check --through URL` asks for it, at the path of a route: proxies are told to buffer, or not to, by path. So it
is asked for by the query, and answered before anybody is authenticated: an operator has no user's token at hand. It
says nothing but the time, is over in two seconds, which is less than an idle connection may cost anybody, and there are
only a few at once; beyond those the query means nothing and the request is one like any other.
"""

import asyncio
import json
from collections.abc import Awaitable
from typing import Final

from gateway.wire.answers import STREAM_HEADERS
from gateway.wire.asgi import App, Receive, Scope, Send
from gateway.wire.requests import cancel_on_disconnect

QUERY: Final = b"gateway-check=pace"

# Two seconds in all: long enough to tell waiting from the network's jitter, short enough to wait for.
EVENTS: Final = 9
INTERVAL: Final = 0.25

# Operators check one at a time, and so do a few replicas of a pipeline.
MAX_AT_ONCE: Final = 4


class Pace:
    """Answers the query, and hands everything else on.

    Args:
        interval: Seconds between events.
    """

    def __init__(self, app: App, *, interval: float = INTERVAL) -> None:
        self._app = app
        self._interval = interval
        self._running = 0

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["query_string"] != QUERY or scope["method"] != "POST" or self._running >= MAX_AT_ONCE:
            return self._app(scope, receive, send)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        try:
            with cancel_on_disconnect(scope, receive):
                await self._stream(send)
        finally:
            self._running -= 1

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(EVENTS):
            await asyncio.sleep(start + number * self._interval - loop.time())
            event = {"event": number + 1, "of": EVENTS, "at": round(loop.time() - start, 3)}
            frame = b"data: " + json.dumps(event).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": frame, "more_body": number + 1 < EVENTS})
