"""A tiny ASGI app behind the gateway's own server, in a thread: what the wire does, without the gateway behind it."""

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.wire.asgi import Message, Receive, Scope, Send, direct_of
from gateway.wire.server import DrainTimes, ServerLimits, build_server

LENGTH = (b"content-length", b"1000")
LIMITS = ServerLimits(max_head=1024, max_headers=10, head_timeout=0.4, keep_alive=2, write_timeout=0.4)


@dataclass(slots=True)
class EdgeApp:
    """Answers by path: /echo says what it got, /early does not read the body, /stream and /flood go on until told,
    /waiting reads the body and waits for the client to leave, /broken stops within an answer of some length.

    Attributes:
        seen: Method and path of each request, in order.
        left: Paths whose client went away.
        refused: Codes of what the server refused before it was a request.
    """

    seen: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        self.seen.append(f"{scope['method']} {scope['path']}")
        answers = {
            "/early": self._early,
            "/stream": self._stream,
            "/flood": self._flood,
            "/waiting": self._wait,
            "/broken": self._break,
        }
        await answers.get(scope["path"], self._echo)(scope, receive, send)

    def start_drain(self) -> None:
        """Nothing depends on it here."""

    def end_streams(self) -> None:
        self.release.set()

    async def _echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(scope["path"])
                return
            body += message["body"]
            more = message["more_body"]
        headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        await answer(send, {"method": scope["method"], "path": scope["path"], "headers": headers, "body": len(body)})

    async def _early(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, {"path": scope["path"]}, status=401)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(scope, receive))
        await send(stream_head())
        await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
        while not self.release.is_set() and not watcher.done():  # noqa: ASYNC110  # another thread sets it
            await asyncio.sleep(0.01)
        watcher.cancel()
        await send({"type": "http.response.body", "body": b"ended\n", "more_body": False})

    async def _flood(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(scope, receive))
        await send(stream_head())
        while not watcher.done():
            await send({"type": "http.response.body", "body": bytes(16384), "more_body": True})
            await asyncio.sleep(0)

    async def _wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = direct_of(scope)
        assert direct is not None
        direct.call_when_gone(lambda: self.left.append(scope["path"]))
        body = direct.take_body()
        while body is None:
            message = await receive()
            body = None if message["more_body"] else message["body"]
        while not self.left:  # noqa: ASYNC110  # a callback fills it
            await asyncio.sleep(0.01)

    async def _break(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = int(scope["query_string"] or b"0")
        await send(stream_head() if size else {"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        if size:
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})

    async def _watch(self, scope: Scope, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.append(scope["path"])


async def answer(send: Send, value: Any, *, status: int = 200) -> None:
    """A small JSON answer."""
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def stream_head() -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def serving(app: EdgeApp, limits: ServerLimits = LIMITS) -> Iterator[int]:
    """Serve ``app`` behind our server; gives the port."""
    ready = threading.Event()
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = build_server(
        app,
        limits=limits,
        times=DrainTimes(delay=0, timeout=1),
        on_ready=ready.set,
        on_refused=lambda error: app.refused.append(error.code),
    )
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield port
    finally:
        app.release.set()
        server.should_exit = True
        thread.join(10)


def wait_for(condition: Any, seconds: float = 3.0) -> bool:
    """Whether ``condition()`` becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def count_alive(kind: type) -> int:
    """Objects of this kind in memory, those that only the collector would free included."""
    return sum(type(thing) is kind for thing in gc.get_objects())


def count_reachable(kind: type) -> int:
    """Objects of this kind that something still holds."""
    gc.collect()
    return count_alive(kind)
