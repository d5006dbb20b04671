"""The end of the process, told to a real one: not ready first, streams finish, exit 0; a second signal ends it."""

import asyncio
import inspect
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from gateway.wire.asgi import direct_of
from gateway.wire.server import DrainingServer, DrainTimes, ServerLimits, build_server, open_socket
from tests.support.raw import connected, request

# The gateway's own server around an app that streams until `end_streams`, and says on /readyz what it was told.
PROGRAM = """
import asyncio, sys
from gateway.wire.server import DrainTimes, ServerLimits, build_server, open_socket

class App:
    draining = ended = False
    def start_drain(self): self.draining = True
    def end_streams(self): self.ended = True
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        status = 503 if self.draining else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        if scope["path"] == "/stream":
            while not self.ended and not (scope["query_string"] and self.draining):
                await send({"type": "http.response.body", "body": b".", "more_body": True})
                await asyncio.sleep(0.02)
        while scope["path"] == "/flood" and not self.ended:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        await send({"type": "http.response.body", "body": b"end", "more_body": False})

delay, timeout = float(sys.argv[1]), float(sys.argv[2])
sock = open_socket("127.0.0.1", 0, 16)
port = sock.getsockname()[1]
limits = ServerLimits(max_head=1024, max_headers=10, head_timeout=5, keep_alive=5, write_timeout=5)
times = DrainTimes(delay=delay, timeout=timeout)
build_server(App(), limits=limits, times=times, on_ready=lambda: print(port, flush=True)).run([sock])
"""


@contextmanager
def process(*, delay: float, timeout: float) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program above, ready."""
    command = [sys.executable, "-c", PROGRAM, str(delay), str(timeout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, int(child.stdout.readline())
        finally:
            child.kill()


def readiness(port: int) -> int:
    with connected(port) as client:
        client.send(request("/readyz"))
        return client.read_answer().status


def exit_of(child: subprocess.Popen[str]) -> tuple[int, float]:
    """The exit code, and the seconds it took."""
    started = time.monotonic()
    return child.wait(10), time.monotonic() - started


def test_uvicorn_still_has_the_names_we_lean_on() -> None:
    """Our server overrides or sets these; when uvicorn moves one, this fails before a drain silently does."""
    server = uvicorn.Server(uvicorn.Config(lambda: None, log_config=None))
    names = ("startup", "main_loop", "shutdown", "capture_signals")
    methods = {name: list(inspect.signature(getattr(uvicorn.Server, name)).parameters) for name in names}

    assert methods == {
        "startup": ["self", "sockets"],
        "main_loop": ["self"],
        "shutdown": ["self", "sockets"],
        "capture_signals": ["self"],
    }
    # Not by its signature: sse_starlette, which the agent backend brings in, replaces it in any process it is in.
    assert "signal.signal(sig, self.handle_exit)" in inspect.getsource(uvicorn.Server.capture_signals)
    assert (server.started, server.should_exit, server.force_exit) == (False, False, False)
    assert DrainingServer.run is uvicorn.Server.run


def test_sigterm_is_seen_before_it_is_felt() -> None:
    """For drain_delay new connections are accepted and told "not ready"; a running stream finishes; exit 0."""
    with process(delay=1, timeout=5) as (child, port), connected(port) as stream:
        before = readiness(port)
        stream.send(request("/stream?until=drain"))
        stream.read_until(b".\r\n")
        child.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        during = readiness(port)
        rest = stream.read_to_end()
        code, _ = exit_of(child)

    assert (before, during, code) == (200, 503, 0)
    assert rest.endswith(b"3\r\nend\r\n0\r\n\r\n")


def test_at_the_deadline_streams_get_a_last_word() -> None:
    """A stream that would go on for ever is ended through the app, whole, and the process exits with 0."""
    with process(delay=0, timeout=0.3) as (child, port), connected(port) as stream:
        stream.send(request("/stream"))
        stream.read_until(b".\r\n")
        child.send_signal(signal.SIGTERM)
        rest = stream.read_to_end()
        code, took = exit_of(child)

    assert rest.endswith(b"3\r\nend\r\n0\r\n\r\n")
    assert (code, took < 2) == (0, True)


def test_a_client_that_takes_nothing_does_not_hold_the_process() -> None:
    """It has a moment for its last word; the exit is in time, and nothing is logged about tasks that were cancelled."""
    with process(delay=0, timeout=0.3) as (child, port), connected(port, receive_buffer=4096) as client:
        client.send(request("/flood"))
        client.read_until(b"\r\n\r\n")
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        code, took = exit_of(child)
        assert child.stderr is not None
        log = child.stderr.read()

    assert (code, took < 4, "Cancel" in log) == (0, True, False)


def test_a_person_does_not_wait_for_balancers() -> None:
    """SIGINT skips drain_delay; with nothing running the process is gone at once."""
    with process(delay=30, timeout=30) as (child, _):
        child.send_signal(signal.SIGINT)
        code, took = exit_of(child)

    assert (code, took < 2) == (0, True)


def test_a_second_signal_ends_the_delay() -> None:
    """Whoever sends it twice means it."""
    with process(delay=30, timeout=30) as (child, port), connected(port) as stream:
        stream.send(request("/stream"))
        stream.read_until(b".\r\n")
        child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        code, took = exit_of(child)
        rest = stream.read_to_end()

    assert (code, took < 2) == (0, True)
    assert rest.endswith(b"3\r\nend\r\n0\r\n\r\n")


def test_a_second_signal_ends_the_wait_for_streams() -> None:
    """Also when the delay is over and only streams keep the process: they get their last word, and that is that."""
    with process(delay=0, timeout=30) as (child, port), connected(port) as stream:
        stream.send(request("/stream"))
        stream.read_until(b".\r\n")
        child.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        code, took = exit_of(child)
        rest = stream.read_to_end()
        assert child.stderr is not None
        complaints = child.stderr.read()

    assert (code, took < 2, complaints) == (0, True, "")
    assert rest.endswith(b"3\r\nend\r\n0\r\n\r\n")


def test_a_client_that_holds_a_connection_does_not_hold_the_process() -> None:
    """Idle and half-sent connections are closed when the drain begins."""
    with process(delay=0, timeout=30) as (child, port), connected(port) as idle, connected(port) as half:
        half.send(b"GET /")
        idle.send(request("/readyz"))
        idle.read_answer()
        child.send_signal(signal.SIGTERM)
        code, took = exit_of(child)

    assert (code, took < 2) == (0, True)


def test_open_socket_speaks_both_protocols() -> None:
    """A host with a colon is an IPv6 address."""
    with open_socket("127.0.0.1", 0, 16) as four, open_socket("::1", 0, 16) as six:
        assert (four.family, six.family) == (socket.AF_INET, socket.AF_INET6)


class Nowhere(asyncio.Transport):
    """A client that says nothing and takes everything."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


async def test_after_a_reload_no_connection_remembers_the_settings_of_before() -> None:
    """Nor keeps them: what was found out leads to the routes and backends that it was found out for."""
    seen = []

    class App:
        def start_drain(self) -> None: ...

        def end_streams(self) -> None: ...

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            direct = direct_of(scope)
            assert direct is not None
            seen.append(dict(direct.memory))
            direct.memory["settings"] = "of before"
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    limits = ServerLimits(max_head=1024, max_headers=10, head_timeout=5, keep_alive=5, write_timeout=5)
    times = DrainTimes(delay=0, timeout=1)
    server = build_server(App(), limits=limits, times=times, on_ready=lambda: None)
    server.config.load()
    make: Any = server.config.http_protocol_class
    connection = make(config=server.config, server_state=server.server_state, app_state={})
    connection.connection_made(Nowhere())
    for reload in (False, True, False):
        connection.data_received(request("/a"))
        await asyncio.sleep(0)
        if reload:
            server.take(limits=limits, times=times)
    connection.connection_lost(None)

    assert seen == [{}, {"settings": "of before"}, {}]
