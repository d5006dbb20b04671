"""The programs of a deployment as processes of this machine.

Rules: command, variables, files, secrets and health checks are taken from the deployment's own files; all that changes
are the places: folders of the container, ports, names of hosts, by one table. An entry of it that no text needed is an
error: the files have changed, and the test no longer runs what it says. Programs see nothing of the tests' environment.
A health check decides when a program is ready, as it does for the engine. Being told to stop, each must end with 0.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
# Seconds that a program may take to start, or to end, on a busy machine.
PATIENCE = 60.0
LOOK = 0.1
# Nobody waits for a balancer here.
AT_ONCE = {"GATEWAY_SERVER__DRAIN_DELAY": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One container, unit or the like; ``files`` are what it finds, by its own paths."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def instead(self, *command: str) -> "Program":
        """Another command in the same surroundings."""
        return Program(name=self.name, command=command, environment=self.environment, files=self.files)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where programs run; ``places`` has what stands in the deployment's files, and what that is here."""

    folder: Path
    places: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    def translate(self, text: str) -> str:
        """The longest place first, and nothing twice; a port or an address is a whole one."""
        ordered = sorted(self.places, key=len, reverse=True)
        whole = r"(?<![\d.]){}(?!\d)"
        pattern = "|".join(
            whole.format(re.escape(place)) if place[0].isdigit() else re.escape(place) for place in ordered
        )
        return re.sub(pattern, lambda found: self._use(found[0]), text)

    def run(self, program: Program) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end."""
        command, environment = self._prepare(program)
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    @contextmanager
    def running(self, program: Program, is_ready: Callable[[], bool], *, status: int = 0) -> Iterator[None]:
        """Start a program, wait until it is ready; at the end tell it to stop, and see it end with ``status``."""
        command, environment = self._prepare(program)
        log = self.folder / f"{program.name}.log"
        with (
            log.open("wb") as sink,
            subprocess.Popen(
                command, env=environment | AT_ONCE, cwd=self.folder, stdout=sink, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                deadline = time.monotonic() + PATIENCE
                while not is_ready():
                    assert process.poll() is None, f"{program.name} ended:\n{log.read_text()}"
                    assert time.monotonic() < deadline, f"{program.name} is not ready:\n{log.read_text()}"
                    time.sleep(LOOK)
                yield
                process.terminate()
                assert process.wait(PATIENCE) == status, f"{program.name} ended badly:\n{log.read_text()}"
            finally:
                process.kill()

    def passes(self, command: Sequence[str]) -> bool:
        """A health check that is a command."""
        return self.run(Program(name="health", command=command)).returncode == 0

    def answers(self, path: str, *, port: str) -> bool:
        """A health check that is a request: 200 or not."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.places[port]}{path}", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _use(self, place: str) -> str:
        self.used.add(place)
        return self.places[place]

    def _prepare(self, program: Program) -> tuple[list[str], dict[str, str]]:
        for path, text in program.files.items():
            file = Path(self.translate(path))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.translate(text))
        environment = {name: self.translate(value) for name, value in program.environment.items()}
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return [self.translate(part) for part in program.command], {"PATH": path, **environment}


@contextmanager
def machine(folder: Path, places: Mapping[str, str]) -> Iterator[Machine]:
    """A machine that, in the end, has needed each of its places."""
    here = Machine(folder, places)
    yield here
    assert set(places) == here.used
