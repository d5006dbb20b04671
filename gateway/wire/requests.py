"""Reading a request's body, and noticing that its client has gone.

Rules: first the body is read, then the same channel is watched, never both at once: two readers would steal each
other's messages. A body that is declared too large is refused unread.

Sources: the ASGI specification, HTTP 2.3; RFC 9110 section 8.6 (Content-Length).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any

from gateway.errors import BackendTimeout, BodyTooLarge, ClientDisconnected, RequestTimeout
from gateway.wire.asgi import Headers, Receive, Scope, direct_of, task_of


async def read_body(scope: Scope, receive: Receive, *, max_body: int, timeout: float) -> bytes:
    """The whole body.

    Args:
        max_body: Bytes.
        timeout: Seconds for the whole of it.

    Raises:
        BodyTooLarge: Declared or turned out larger.
        RequestTimeout: It did not come in time.
        ClientDisconnected: The client left before it was complete.
    """
    body = take_body(scope, max_body=max_body)
    if body is not None:
        return body
    find_length(scope["headers"], max_body=max_body)
    try:
        async with asyncio.timeout(timeout):
            return b"".join([chunk async for chunk in _chunks(receive, max_body)])
    except TimeoutError as exc:
        raise RequestTimeout(f"body not complete within {timeout:.0f} s") from exc


def take_body(scope: Scope, *, max_body: int) -> bytes | None:
    """The whole body if it is there already, else None.

    Raises:
        BodyTooLarge: It is more than ``max_body`` bytes.
    """
    direct = direct_of(scope)
    body = direct.take_body() if direct is not None else None
    if body is not None and len(body) > max_body:
        raise BodyTooLarge(f"body of {len(body)} bytes, max_body is {max_body}")
    return body


async def stream_body(
    receive: Receive, send: Callable[[bytes], Awaitable[None]], *, max_body: int, idle: float
) -> None:
    """Hand the body on in pieces, as they come.

    Args:
        send: Takes a piece; may wait.
        max_body: Bytes.
        idle: Seconds without progress, on either side.

    Raises:
        BodyTooLarge, ClientDisconnected: As `read_body`; what was handed on before is then worthless.
        RequestTimeout: The client sent nothing for ``idle`` seconds.
        BackendTimeout: The backend took nothing for ``idle`` seconds.
    """
    async with contextlib.aclosing(_chunks(receive, max_body)) as chunks:
        while True:
            try:
                async with asyncio.timeout(idle):
                    chunk = await anext(chunks, None)
            except TimeoutError as exc:
                raise RequestTimeout(f"no piece of the body for {idle:.0f} s") from exc
            if chunk is None:
                return
            try:
                async with asyncio.timeout(idle):
                    await send(chunk)
                    # A turn of the loop: a refusal that has come is read before the next write fails on its connection.
                    await asyncio.sleep(0)
            except TimeoutError as exc:
                raise BackendTimeout(f"took nothing of the body for {idle:.0f} s") from exc


def find_length(headers: Headers, *, max_body: int) -> int | None:
    """The declared length of the body: 0 if there is none, None if it comes in chunks.

    Raises:
        BodyTooLarge: It is more than ``max_body`` bytes.
    """
    for name, value in headers:
        if name == b"content-length":
            # The parser has checked that this is a number; its size is checked before Python makes an integer of it.
            if len(value) > 15 or int(value) > max_body:
                raise BodyTooLarge(f"content-length {value!r:.40}, max_body is {max_body}")
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


class cancel_on_disconnect:  # noqa: N801  # used as a verb: ``with cancel_on_disconnect(scope, receive):``
    """Cancel what runs inside when the client goes away, and raise ClientDisconnected in its place.

    Built like `asyncio.timeout`: no task group, so that errors come out as they are. Our own server calls; under
    another one a task watches `receive`, and then nothing inside may await after the last byte of the answer was sent:
    that is reported as a disconnect too.
    """

    __slots__ = ("_cancelling", "_direct", "_gone", "_receive", "_task", "_watcher")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._direct = direct_of(scope)
        self._task: asyncio.Task[Any] | None = task_of(scope)
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._cancelling = 0
        self._gone = False

    def __enter__(self) -> None:
        self._cancelling = self._task.cancelling() if self._task else 0
        if self._direct is not None:
            self._direct.call_when_gone(self._cancel)
        else:
            self._watcher = asyncio.create_task(self._watch())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._direct is not None:
            self._direct.call_when_gone(None)
        elif self._watcher is not None:
            self._watcher.cancel()
        task, self._task = self._task, None
        if not self._gone or task is None:
            return
        outer = task.uncancel() > self._cancelling
        if kind is asyncio.CancelledError and not outer:
            raise ClientDisconnected("left before the answer was complete") from exc

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._gone = True
            self._task.cancel()


async def _chunks(receive: Receive, max_body: int) -> AsyncGenerator[bytes, None]:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("left before its body was complete")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_body:
            raise BodyTooLarge(f"body of more than {max_body} bytes")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return
