"""The backend behind most routes: it keeps every request as it came, and answers as ``?answer=`` in the query asks.

cookies             it tries to speak for the gateway
redirect            it sends the client elsewhere
large, endless      more than a route hands out, declared or turning out
page                a page with a script in it
failure             a long error page
none                it waits until the gateway gives up
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.support.scripted import Exchange, ScriptedBackend, json_answer, scripted_backend

# Two events; each is one whole ChatKit frame.
EVENTS = b'data: {"type":"progress_update","text":"1"}\n\ndata: {"type":"progress_update","text":"2"}\n\n'

# A backend that takes itself for the gateway.
OVERREACHING = (
    b"set-cookie: auth_token=evil; Path=/\r\nset-cookie2: a=b\r\nx-gateway-assertion: evil\r\n"
    b"x-request-id: evil-request-id\r\naccess-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n"
    b"clear-site-data: *\r\nserver: evil\r\nconnection: x-hop\r\nx-hop: evil\r\nx-plain: kept\r\n"
)


SCRIPT = b"<script>fetch('/session')</script>"
PAGE = (len(SCRIPT), b"content-security-policy: default-src *\r\n", SCRIPT)


async def _answer(exchange: Exchange) -> None:
    request_line = exchange.head.partition(b"\r\n")[0]
    if b"answer=cookies" in request_line:
        await json_answer(headers=OVERREACHING)(exchange)
    elif b"answer=redirect" in request_line:
        location = request_line.partition(b"to=")[2].partition(b" ")[0]
        await json_answer(status=b"302 Found", headers=b"location: " + location + b"\r\n")(exchange)
    elif b"answer=large" in request_line:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + bytes(70000))
    elif b"answer=endless" in request_line:
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await exchange.send_chunk(bytes(70000))
        await exchange.send_chunk(b"")
    elif b"answer=page" in request_line:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n%s\r\n%s" % PAGE)
    elif b"answer=failure" in request_line:
        head = b"HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\ncontent-length: 200000\r\n\r\n"
        await exchange.send(head + bytes(200_000))
    elif b"answer=none" in request_line:
        await exchange.gone()
        exchange.writer.close()
    elif b'"threads.create"' in exchange.body:
        await exchange.start_stream()
        await exchange.send_chunk(EVENTS)
        await exchange.send_chunk(b"")
    else:
        await json_answer(b'{"data":[],"has_more":false}')(exchange)


@contextlib.contextmanager
def running_backend() -> Iterator[ScriptedBackend]:
    """The backend on a free port, in a thread of its own."""
    ready: list[ScriptedBackend] = []
    begun, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with scripted_backend(_answer) as backend:
            ready.append(backend)
            begun.set()
            await over.wait()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    try:
        if not begun.wait(10):
            raise RuntimeError("the backend did not start")
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
