"""Programs that are started, watched until they are ready, and stopped whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cores import starting_on
from tests.bench.errors import NotStarted

# Seconds. Far above the second that the gateway should take, for machines that are slow or busy.
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
# Seconds between looks whether it is ready; also how exact the time until then is.
LOOK = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run.

    Attributes:
        ready: A path that answers 200 once it is ready; None: it is ready when it listens.
        output: A file for all that it writes; it is emptied first.
    """

    command: Sequence[str]
    folder: Path
    port: int
    ready: str | None
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A program that is ready; ``seconds`` is how long that took."""

    pid: int
    port: int
    seconds: float


@contextlib.contextmanager
def running(program: Program, core: int, pycache: Path) -> Iterator[Running]:
    """Run ``program`` on ``core`` until the end.

    Args:
        pycache: Where a Python program keeps its bytecode, so that only the first start compiles.

    Raises:
        NotStarted: The message has the end of what it wrote.
    """
    with program.output.open("wb") as output, starting_on(core):
        begun = time.monotonic()
        process = subprocess.Popen(
            program.command,
            cwd=program.folder,
            env=_environment(pycache),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle, and its children are stopped with it
        )
    try:
        _await_ready(program, process, begun + START_TIMEOUT)
        yield Running(pid=process.pid, port=program.port, seconds=time.monotonic() - begun)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, then end it, and every child that is left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(pycache: Path) -> dict[str, str]:
    """Ours, without settings of the gateway in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPYCACHEPREFIX": str(pycache)}


def _await_ready(program: Program, process: "subprocess.Popen[bytes]", deadline: float) -> None:
    while not _is_ready(program.port, program.ready):
        if process.poll() is not None:
            raise NotStarted(f"{program.command[0]} ended with {process.returncode}: {_last_words(program)}")
        if time.monotonic() > deadline:
            raise NotStarted(f"{program.command[0]} not ready in {START_TIMEOUT:.0f} s: {_last_words(program)}")
        time.sleep(LOOK)


def _is_ready(port: int, path: str | None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            if path is None:
                return True
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _last_words(program: Program) -> str:
    return program.output.read_text(errors="replace")[-2000:].strip() or "it wrote nothing"
