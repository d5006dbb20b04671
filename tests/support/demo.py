"""The demo as people start it, for tests: three processes on free ports."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from gateway.demo.ports import Ports, check_ports, find_problem, ports_from
from gateway.demo.talk import Visitor

DEMO = [sys.executable, "-m", "gateway", "demo"]
ROOT = Path(__file__).parents[2]


@contextmanager
def demo(ports: Ports, directory: Path) -> Iterator[None]:
    """The demo, ready; stopped by Ctrl-C at the end, which must be a success."""
    command = [*DEMO, "--port", str(ports.gateway)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert any("Ctrl-C stops everything" in line for line in lines)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
    assert status == 0
    check_ports(ports)


@contextmanager
def visitor(ports: Ports, user: str) -> Iterator[Visitor]:
    with httpx.Client(timeout=30, trust_env=False) as client:
        visitor = Visitor(client, ports=ports)
        visitor.sign_in(user)
        yield visitor


def free_range() -> Ports:
    """Three ports in a row that nobody listens on."""
    candidates = (ports_from(base) for base in range(21000 + os.getpid() % 900 * 10, 31000, 10))
    return next(ports for ports in candidates if not any(map(find_problem, range(ports.gateway, ports.gateway + 3))))
