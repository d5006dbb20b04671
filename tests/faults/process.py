"""The gateway as a process: started as an operator would, and counted from inside and outside."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.issuer import Issuer, signing_key
from tests.support.raw import connected, request
from tests.support.unlimited import NO_LIMITS

ROOT = Path(__file__).parents[2]

# Seconds that a condition may take to come true. No promise: what is promised sooner says so itself.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the gateway holds beyond what it held before its first request.

    Attributes:
        tasks: Of its event loop.
        descriptors: Sockets, mostly.
        errors: Log lines of bugs: whatever was said at level error, or around the log.
    """

    tasks: int = 0
    descriptors: int = 0
    errors: tuple[str, ...] = ()


NOTHING = Held()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How large an observed gateway is.

    Attributes:
        bytes: What it has made, stacks, heap and arenas, and nothing of any file.
        blocks: Of Python's allocator in use, about one for each small object.
    """

    bytes: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayProcess:
    """A running gateway.

    Attributes:
        backend_port: Where it expects its backend: a test's to listen on, with SO_REUSEADDR, and nobody else's.
        token: Of a user that it lets in.
        before: Tasks and descriptors when it had served nothing yet, whoever asked included.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    backend_port: int
    token: str
    log: Path
    before: Held

    def request(self, case: str = "", *, operation: str = "threads.create", text: str = "") -> bytes:
        """One ChatKit request, whole; ``case`` reaches the backend as the query, ``text`` as part of the body."""
        content = [{"type": "input_text", "text": text}]
        body = json.dumps({"type": operation, "params": {"input": {"content": content}}}).encode()
        head = (
            f"POST /chatkit?{case} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def held(self) -> Held:
        """What is left, once it is nothing or `PATIENCE` is over."""
        deadline = time.monotonic() + PATIENCE
        left = self._count()
        while left != NOTHING and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            left = self._count()
        return left

    def memory(self) -> Memory:
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        match = re.search(r"^Anonymous:\s+(\d+) kB$", text, re.MULTILINE)
        assert match is not None
        return Memory(bytes=int(match[1]) * 1024, blocks=ask(self.port, "/memory")["blocks"])

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _count(self) -> Held:
        tasks, descriptors = count(self.port)
        errors = tuple(line for line in self.log.read_text().splitlines() if is_bug(line))
        return Held(tasks - self.before.tasks, descriptors - self.before.descriptors, errors)


def count(port: int) -> tuple[int, int]:
    """Tasks and descriptors of an observed gateway, this question's own among them."""
    census = ask(port, "/census")
    return census["tasks"], census["descriptors"]


def ask(port: int, path: str) -> dict[str, int]:
    with connected(port) as client:
        client.send(request(path, "Connection: close"))
        answer: dict[str, int] = client.read_answer().json()
    return answer


def is_bug(line: str) -> bool:
    try:
        return bool(json.loads(line)["level"] == "error")
    except ValueError:
        return True  # a traceback, or whatever else went around the log


@contextlib.contextmanager
def running(folder: Path, *, server: str = "", backend: str = "", route: str = "") -> Iterator[GatewayProcess]:
    """A gateway that can be counted; the three texts are lines of its settings' tables."""
    with started(folder, "tests.faults.observed", server=server, backend=backend, route=route) as gateway:
        yield gateway


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    server: str = "",
    backend: str = "",
    route: str = "",
    ports: Sequence[int] = (),
    issuer: Issuer | None = None,
) -> Iterator[GatewayProcess]:
    """The same from the command line, with nothing in it that is not the gateway's.

    Args:
        ports: Its replicas'.
        issuer: Where several gateways know the same people.
    """
    command = ("gateway", "serve", "--settings")
    with started(folder, *command, server=server, backend=backend, route=route, ports=ports, issuer=issuer) as gateway:
        yield gateway


@contextlib.contextmanager
def started(
    folder: Path,
    *command: str,
    server: str,
    backend: str,
    route: str,
    ports: Sequence[int] = (),
    issuer: Issuer | None = None,
) -> Iterator[GatewayProcess]:
    issuer = issuer or Issuer(keys=[signing_key("ES256", kid="k1")])
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    settings, log = folder / "gateway.toml", folder / "gateway.log"
    with reserved_port() as backend_port, log.open("wb") as sink:
        urls = [f"http://127.0.0.1:{port}/agent" for port in ports or (backend_port,)]
        settings.write_text(f"""
[server]
port = 0
{server}
[issuers.main]
issuer = "{issuer.issuer}"
jwks_file = "{folder}/jwks.json"
audiences = ["{issuer.audience}"]
[backends.support]
{f"urls = {urls}" if ports else f"url = '{urls[0]}'"}
{backend}
[routes.support]
path = "/chatkit"
backend = "support"
{NO_LIMITS}
{route}
""")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        with subprocess.Popen(
            [sys.executable, "-m", *command, str(settings)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=environment,
        ) as process:
            try:
                port = await_ready(process, log)
                before = Held(*count(port)) if "tests.faults.observed" in command else NOTHING
                yield GatewayProcess(
                    process=process,
                    port=port,
                    backend_port=backend_port,
                    token=issuer.token(),
                    log=log,
                    before=before,
                )
            finally:
                process.kill()


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port that refuses connections until somebody listens there. No connection of the tests' thousands gets it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def await_ready(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """The port, once it says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    match = re.match(r"gateway ready on https?://127\.0\.0\.1:(\d+) ", line)
    assert match is not None, f"not started: {log.read_text()}"
    return int(match[1])
