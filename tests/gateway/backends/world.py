"""What the tests of this folder build: a client for a scripted backend, requests, a reply that remembers."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.backends.client import Address, BackendClient, BackendLimits, BackendRequest, ReplicaRules
from tests.support.scripted import Script, ScriptedBackend, scripted_backend

Headers = list[tuple[bytes, bytes]]


def build_client(
    port: int, *, socket: str | None = None, tls: ssl.SSLContext | None = None, **limits: Any
) -> BackendClient:
    address = Address(host="127.0.0.1", port=port, authority=b"agent.test", path=b"/chatkit", socket=socket, tls=tls)
    return BackendClient(name="support", addresses=[address], limits=build_limits(**limits))


def build_replicated_client(*ports: int, rules: ReplicaRules | None = None, **limits: Any) -> BackendClient:
    """A replica at each of ``ports``, which is its name too."""
    addresses = [
        Address(host="127.0.0.1", port=port, authority=b"agent.test:%d" % port, path=b"/chatkit") for port in ports
    ]
    return BackendClient(name="support", addresses=addresses, limits=build_limits(**limits), rules=rules)


def build_limits(**limits: Any) -> BackendLimits:
    return BackendLimits(**{"connect_timeout": 2.0, "keep_alive": 4.0, "max_connections": 10, **limits})


def build_request(
    body: bytes = b"{}", *, method: str = "POST", headers: Headers | None = None, affinity: str | None = None
) -> BackendRequest:
    return BackendRequest(method=method, path=b"/chatkit", headers=headers or [], body=body, affinity=affinity)


@contextlib.asynccontextmanager
async def world(script: Script, **limits: Any) -> AsyncIterator[tuple[ScriptedBackend, BackendClient]]:
    """A backend that follows ``script``, and a client for it."""
    async with scripted_backend(script) as backend:
        client = build_client(backend.port, **limits)
        try:
            yield backend, client
        finally:
            client.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, and fail if it takes too long."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  it happens at the other end of a socket
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class RememberingReply:
    """The client's side: every call, in order."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def start(self, status: int, headers: Headers) -> None:
        self.calls.append(("start", status))

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.calls += [("start", status), ("end", body)]

    async def start_stream(self, headers: Headers) -> None:
        self.calls.append(("start_stream",))

    async def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    async def end(self, data: bytes = b"") -> None:
        self.calls.append(("end", data))

    @property
    def steps(self) -> list[tuple[Any, ...]]:
        """The calls, runs of heartbeats counted once: how many fit into a silence is the machine's matter."""
        heartbeat = ("write", b":\n")
        pairs = zip(self.calls, [None, *self.calls], strict=False)
        return [call for call, before in pairs if not call == before == heartbeat]

    @property
    def body(self) -> bytes:
        return b"".join(call[1] for call in self.calls if call[0] in ("write", "end"))
