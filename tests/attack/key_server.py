"""Where issuers publish their keys: an endpoint per issuer, each as well or as badly behaved as a row wants it.

Also `Tripwire`, an address nobody may ever connect to.
"""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Endpoint = Callable[[BaseHTTPRequestHandler], None]


class KeyServer:
    """Endpoints by path; ``fetches`` counts what was asked, ``sent`` the bytes of the endless one."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.fetches: Counter[str] = Counter()
        self.sent = 0
        self.url = ""
        self._over = threading.Event()

    def publish(self, path: str, document: Mapping[str, Any]) -> None:
        """From now on ``path`` answers with this document."""
        self.endpoints[path] = answer(200, json.dumps(document).encode())

    def huge(self, handler: BaseHTTPRequestHandler) -> None:
        """A 50 MB document that is valid JSON at every byte so far."""
        size = 50 * 1024 * 1024
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(size))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(b'{"keys":[],"x":"')
            for _ in range(size // 65536):
                handler.wfile.write(b"x" * 65536)
                self.sent += 65536
        handler.close_connection = True

    def slow(self, handler: BaseHTTPRequestHandler) -> None:
        """A byte now and then, for ever: no single read ever times out."""
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not self._over.wait(0.1):
                handler.wfile.write(b" ")
        handler.close_connection = True

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        keys = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                keys.fetches[path] += 1
                keys.endpoints.get(path, answer(404, b"{}"))(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
                return

        server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            server.shutdown()
            server.server_close()
            thread.join(5)


class _Server(ThreadingHTTPServer):
    # All issuers are asked in one moment; a connection that the queue has no room for waits a second.
    request_queue_size = 128
    daemon_threads = True


def answer(status: int, body: bytes, *, content_type: str = "application/json", location: str = "") -> Endpoint:
    """An endpoint that always says this."""

    def endpoint(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", content_type)
        handler.send_header("content-length", str(len(body)))
        if location:
            handler.send_header("location", location)
        handler.end_headers()
        handler.wfile.write(body)

    return endpoint


class Tripwire:
    """An address that requests name and nobody may follow: it counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        thread = threading.Thread(target=self._watch, args=(sock,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            # A listener that is only closed keeps its accept() waiting.
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
            thread.join(5)

    def _watch(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock.accept()[0].close()
                self.visits += 1
