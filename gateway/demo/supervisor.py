"""Several processes as one: start them, wait until all are ready, notice when one ends, stop them all.

Rules: no part outlives the supervisor, however it ends: a stop is SIGTERM, a bounded wait, then SIGKILL to the part's
whole process group, and every part holds a pipe to us on standard input, which `leash` watches. Each part is the leader
of its own session, so that Ctrl-C in the terminal reaches the supervisor alone. A part that ends by itself is a
failure, shown with the end of its log. Knows nothing of what the parts are.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import httpx

# Seconds. Three interpreters with large libraries start at once, on machines with two slow cores too.
START_TIMEOUT = 60.0
# Seconds from SIGTERM to SIGKILL. Longer than the parts' own drains in the demo.
STOP_TIMEOUT = 8.0
# Seconds between two looks. Below what a person notices.
INTERVAL = 0.1
# Lines and bytes of a failed part's log that are shown: a Python traceback with its chain fits.
TAIL_LINES = 40
TAIL_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process. ``probes`` are URLs that answer 200, in this order, once it is ready."""

    name: str
    command: Sequence[str]
    log: Path
    probes: tuple[str, ...] = ()


class PartFailed(Exception):
    """A part ended by itself or never became ready. The message ends with the tail of its log."""

    def __init__(self, part: Part, problem: str) -> None:
        super().__init__(f"{part.name} {problem}. The end of {part.log}:\n\n{read_tail(part.log)}")
        self.part = part


class Supervisor:
    """Runs ``parts`` for as long as its ``with`` block lasts."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        environment: Mapping[str, str],
        probe: Callable[[str], bool] | None = None,
        start_timeout: float = START_TIMEOUT,
        stop_timeout: float = STOP_TIMEOUT,
    ) -> None:
        self.parts = parts
        self.environment = environment
        self.probe = probe or answers_ok
        self.start_timeout = start_timeout
        self.stop_timeout = stop_timeout
        self._running: list[tuple[Part, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        try:
            for part in self.parts:
                self._running.append((part, start_process(part, self.environment)))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_ready(self) -> None:
        """Return once every probe of every part has answered.

        Raises:
            PartFailed: a part ended, or did not answer within ``start_timeout`` seconds.
        """
        deadline = time.monotonic() + self.start_timeout
        waiting = [(part, url) for part in self.parts for url in part.probes]
        while waiting:
            self.check()
            if time.monotonic() > deadline:
                part, url = waiting[0]
                raise PartFailed(part, f"was not ready after {self.start_timeout:g} s ({url} does not answer 200)")
            while waiting and self.probe(waiting[0][1]):
                del waiting[0]
            time.sleep(INTERVAL if waiting else 0)

    def watch(self) -> NoReturn:
        """Block until a part ends, which is PartFailed; a signal's exception ends it otherwise."""
        while True:
            self.check()
            time.sleep(INTERVAL)

    def check(self) -> None:
        for part, process in self._running:
            status = process.poll()
            if status is not None:
                raise PartFailed(part, f"ended by itself ({describe_status(status)})")

    def stop(self) -> None:
        """End every part; a second Ctrl-C while waiting ends them at once."""
        processes = [process for _, process in self._running]
        try:
            for process in processes:
                process.terminate()
            wait_for(processes, self.stop_timeout)
        except KeyboardInterrupt:
            pass
        finally:
            for process in processes:
                end_process(process)
            self._running.clear()


def start_process(part: Part, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with part.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 -- the commands are our own, and no shell reads them
            part.command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def wait_for(processes: Sequence[subprocess.Popen[bytes]], timeout: float) -> None:
    """Wait until all have ended, or ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    with suppress(subprocess.TimeoutExpired):
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process and its group, and free what we hold of it."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is left, which macOS calls EPERM
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def answers_ok(url: str) -> bool:
    """Does this URL answer 200 right now?"""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def read_tail(log: Path) -> str:
    """The last lines of a log file."""
    if not log.exists():
        return "(nothing)"
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (nothing)"


def describe_status(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does: raise KeyboardInterrupt in the main thread."""
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(kind, signal.signal(kind, signal.default_int_handler)) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in before:
            signal.signal(kind, handler)
