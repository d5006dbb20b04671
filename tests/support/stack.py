"""The demo's three processes, each on its own, so that a test can kill one and start it again."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.demo.hops import read_records
from gateway.demo.ports import Ports
from gateway.demo.stack import build_parts, child_environment
from gateway.demo.state import State, prepare_state
from gateway.demo.supervisor import Part, answers_ok, end_process, start_process
from tests.support.demo import free_range

BACKEND = "agent backend"
# Seconds. Three interpreters start on a busy machine.
PATIENCE = 60.0


class Stack:
    """``word_delay``: seconds between two words of an answer."""

    def __init__(self, directory: Path, *, word_delay: float) -> None:
        self.ports: Ports = free_range()
        self.state: State = prepare_state(directory, self.ports)
        self._parts = {part.name: part for part in build_parts(self.state, self.ports)}
        self._environment = child_environment({**os.environ, "AGENT_BACKEND_MODEL__WORD_DELAY": str(word_delay)})
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"{self.ports.gateway_url}/"

    @property
    def login_url(self) -> str:
        return f"{self.ports.issuer_url}/login"

    def start(self, *names: str) -> None:
        """These, or all; ready when this returns."""
        parts = [self._parts[name] for name in names or self._parts]
        for part in parts:
            self._running[part.name] = start_process(part, self._environment)
        for part in parts:
            wait_ready(part)

    def kill(self, name: str) -> None:
        """At once, as the kernel does it when memory is short."""
        os.killpg(self._running[name].pid, signal.SIGKILL)
        end_process(self._running.pop(name))

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            end_process(process)

    def backend_lines(self, operation: str) -> list[dict[str, Any]]:
        """The backend's log lines about finished requests of this kind, oldest first."""
        log = self.state.log("agent_backend")
        return [dict(line) for line in read_records(log) if line.get("operation") == operation]


def wait_ready(part: Part) -> None:
    deadline = time.monotonic() + PATIENCE
    for url in part.probes:
        while not answers_ok(url):
            assert time.monotonic() < deadline, f"{part.name} is not ready: {part.log.read_text()[-2000:]}"
            time.sleep(0.05)


@contextmanager
def running_stack(directory: Path, *, word_delay: float = 0.02) -> Iterator[Stack]:
    stack = Stack(directory, word_delay=word_delay)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
