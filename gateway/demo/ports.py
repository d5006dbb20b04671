"""Which ports the demo listens on, and whether they are free.

Rules: loopback only; three ports, the gateway's first. Asks the kernel by binding, because nothing else knows.
"""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

HOST = "127.0.0.1"
# Where to look for a base port to suggest; four digits people can remember.
SUGGESTIONS = range(9090, 9990, 10)


class PortTaken(Exception):
    """The message is for the person at the terminal: which port, whose, and what to type instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    gateway: int
    issuer: int
    backend: int

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway}"

    @property
    def issuer_url(self) -> str:
        return f"http://{HOST}:{self.issuer}"

    @property
    def backend_url(self) -> str:
        return f"http://{HOST}:{self.backend}"


def ports_from(base: int) -> Ports:
    """The gateway on ``base``, the others on the two after it."""
    return Ports(gateway=base, issuer=base + 1, backend=base + 2)


def free_ports() -> Ports:
    """Three different ports nobody listens on right now."""
    with ExitStack() as held:
        sockets = [held.enter_context(bound_socket(0)) for _ in range(3)]
        gateway, issuer, backend = (int(sock.getsockname()[1]) for sock in sockets)
        return Ports(gateway=gateway, issuer=issuer, backend=backend)


def check_ports(ports: Ports) -> None:
    """Raise PortTaken unless all three can be listened on."""
    for name, port in named(ports).items():
        problem = find_problem(port)
        if problem:
            raise PortTaken(f"Port {port} ({name}) {problem}.\n{suggestion()}")


def find_problem(port: int) -> str | None:
    """Why this port cannot be had, as the end of a sentence; None if it can."""
    if not 0 < port < 65536:
        return "does not exist"
    try:
        bound_socket(port).close()
    except OSError as exc:
        return "is already in use" if exc.errno == errno.EADDRINUSE else f"cannot be used: {exc.strerror}"
    return None


def suggestion() -> str:
    free = next((base for base in SUGGESTIONS if not any(map(find_problem, named(ports_from(base)).values()))), None)
    if free is None:
        return "Stop what listens there, and try again."
    return f"Try: make demo PORT={free}   or: gateway demo --port {free}"


def named(ports: Ports) -> Mapping[str, int]:
    return asdict(ports)


def bound_socket(port: int) -> socket.socket:
    """A socket bound as a server would bind it: connections of a former one still in TIME_WAIT do not count."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
