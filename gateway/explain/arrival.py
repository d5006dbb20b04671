"""Bring a captured request in over the gateway's own wire: the same parser, limits and framing as in service.

A pair of sockets stands for the network; at its end is the server's own protocol. Rules: what the capture cannot say
rightly, the body's length, is said anew; all else goes in as it was given.
"""

import asyncio
import contextlib
import json
import socket
from typing import Any

from uvicorn.server import ServerState

from gateway.explain.captures import Given, Headers
from gateway.outbox import Outbox
from gateway.wire.asgi import App
from gateway.wire.heads import Heads
from gateway.wire.protocol import ClientProtocol, ServerLimits


def write_request(given: Given) -> bytes:
    """The request as HTTP/1.1."""
    # Asking for leave to send a body is a talk between two ends, and the body is here already.
    headers = [pair for pair in given.headers if pair[0].lower() != b"expect"]
    if _is_plainly_framed(headers):
        headers = [pair for pair in headers if pair[0].lower() not in (b"content-length", b"transfer-encoding")]
        if given.body:
            headers.append((b"content-length", b"%d" % len(given.body)))
    if not any(name.lower() == b"host" for name, _ in headers):
        # curl commands and HARs have it in the URL; nothing is decided by it.
        headers.insert(0, (b"host", b"gateway"))
    lines = [given.method.encode() + b" " + given.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", given.body or b""])


def _is_plainly_framed(headers: Headers) -> bool:
    """One statement of the length, or none. More are for the wire to judge."""
    framing = [(name.lower(), value) for name, value in headers]
    lengths = [value for name, value in framing if name == b"content-length"]
    codings = [value for name, value in framing if name == b"transfer-encoding"]
    return len(lengths) + len(codings) <= 1 and all(value.isdigit() for value in lengths)


async def bring_in(request: bytes, app: App, limits: ServerLimits) -> dict[str, Any] | None:
    """Serve one request with ``app``.

    Returns:
        The problem that the wire itself answered with, or None: the app got the request.
    """
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    reached = False

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached = True
        await app(scope, receive, send)

    with near:
        near.setblocking(False)
        await loop.connect_accepted_socket(
            lambda: ClientProtocol(
                app=watched, limits=limits, heads=Heads(), outbox=Outbox(), state=ServerState(), loop=loop
            ),
            far,
        )
        sending = asyncio.create_task(_send(loop, near, request))
        answer = b""
        # The app answers, or the wire refuses; either way the connection is then closed.
        while piece := await loop.sock_recv(near, 65536):
            answer += piece
            if reached:
                with contextlib.suppress(OSError):
                    near.shutdown(socket.SHUT_WR)
        sending.cancel()
        await asyncio.wait([sending])
    return None if reached else json.loads(answer.partition(b"\r\n\r\n")[2])


async def _send(loop: asyncio.AbstractEventLoop, sock: socket.socket, data: bytes) -> None:
    # Refused early, the rest is not taken.
    with contextlib.suppress(OSError):
        await loop.sock_sendall(sock, data)
