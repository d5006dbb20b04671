"""Several processes behind one socket: who starts them, replaces those that die, and what they tell each other.

Rules: the first process only watches, so it has nothing to crash on; a signal to it goes to every worker; a worker that
dies is replaced, and the others' streams go on; a worker whose watcher is gone drains by itself. What workers know of
each other is a slip of paper each on a shared board, written by its owner alone. Knows nothing of HTTP or settings.

The workers are forks of a process that has opened the socket and read the settings, but has no event loop and no
thread yet: there is nothing in it that a fork would break.
"""

import asyncio
import json
import logging
import mmap
import os
import select
import signal
import socket
import struct
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

logger = logging.getLogger("gateway.workers")

# Bytes of a slip: a table of counters, at their bound. Memory that nobody writes to is not taken.
SLIP: Final = 4 * 1024 * 1024

# Seconds after which a slip says nothing about today: its owner hangs or is gone. Slips are written twice a second.
STALE: Final = 3.0

# Seconds between two starts of one seat: a worker that dies at once must not keep a core busy.
PAUSE: Final = 1.0

# What the watcher hears, and hands on all but the last of.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_HEAD = struct.Struct(">QII")  # number of the slip, length, checksum


class Board:
    """A slip for each worker, and one for whoever watches them, in memory that all of them share.

    There is room for two of each, written in turn: a worker that is killed while it writes leaves the one before.

    Attributes:
        watcher: The index of the watcher's.
    """

    def __init__(self, seats: int) -> None:
        self.watcher = seats
        self._seats = seats
        self._memory = mmap.mmap(-1, 2 * (seats + 1) * SLIP)

    def post(self, index: int, slip: Mapping[str, Any]) -> None:
        """Replace the slip of ``index``; ``slip`` is JSON, with ``at`` (monotonic seconds) and ``reasons``."""
        data = json.dumps(slip, separators=(",", ":")).encode()
        if len(data) + _HEAD.size > SLIP:
            raise ValueError(f"a slip of {len(data)} bytes, {SLIP - _HEAD.size} fit")
        number = max((number for number, _ in self._find(index)), default=0) + 1
        start = (2 * index + number % 2) * SLIP
        body = start + _HEAD.size
        # The other one counts until this one is whole, head last.
        self._memory[start:body] = bytes(_HEAD.size)
        self._memory[body : body + len(data)] = data
        self._memory[start:body] = _HEAD.pack(number, len(data), zlib.crc32(data))

    def read(self, index: int) -> Mapping[str, Any] | None:
        """The slip of ``index``; None where there is none yet."""
        slips = self._find(index)
        if not slips:
            return None
        slip: Mapping[str, Any] = json.loads(max(slips)[1])
        return slip

    def read_all(self) -> list[Mapping[str, Any]]:
        """Every slip that there is, of workers that are gone too: what they counted has happened."""
        return [slip for index in range(self._seats + 1) if (slip := self.read(index)) is not None]

    def _find(self, index: int) -> list[tuple[int, bytes]]:
        """Those of the two that are whole, each with its number."""
        found = []
        for start in (2 * index * SLIP, (2 * index + 1) * SLIP):
            body = start + _HEAD.size
            number, size, checksum = _HEAD.unpack(self._memory[start:body])
            data = self._memory[body : body + min(size, SLIP)]
            if number and zlib.crc32(data) == checksum:
                found.append((number, data))
        return found

    def reasons(self, *, but: int, clock: Callable[[], float] = time.monotonic) -> list[str]:
        """Why a worker other than ``but`` is not ready. One that is being replaced does not count: it gets nothing."""
        now = clock()
        others = ((index, self.read(index)) for index in range(self._seats) if index != but)
        return [
            f"worker {index}: {reason}"
            for index, slip in others
            if slip is not None and now - slip["at"] < STALE
            for reason in slip["reasons"]
        ]


@dataclass(slots=True, kw_only=True)
class Seat:
    """A worker's place, as the worker sees it.

    Attributes:
        on_orphaned: Called in the worker's loop when whoever started it is gone.
    """

    index: int
    watcher: socket.socket
    on_orphaned: Callable[[], None] = field(default=lambda: None)

    def announce(self) -> None:
        """Called in the worker's loop: it serves now."""
        self.watcher.send(b"r")
        asyncio.get_running_loop().add_reader(self.watcher, self._hear)

    def _hear(self) -> None:
        """Nobody ever says anything: what is heard is the end."""
        asyncio.get_running_loop().remove_reader(self.watcher)
        self.on_orphaned()


def run_workers(
    count: int,
    work: Callable[[Seat], None],
    *,
    on_ready: Callable[[], None],
    on_reload: Callable[[], bool],
) -> int:
    """Run ``work`` in ``count`` processes until a signal.

    Args:
        work: Serves until its own process is signalled.
        on_ready: Called once, when all of them serve.
        on_reload: Called at SIGHUP; whether the workers shall be told.

    Returns:
        The exit code: 0 when every worker ended well after a signal; 1 when one did not, or none could start.
    """
    return _Crew(count, work, on_ready, on_reload).run()


@dataclass(slots=True)
class _Worker:
    index: int
    pid: int
    line: socket.socket
    started: float
    is_ready: bool = False
    owes_reload: bool = False


class _Crew:
    """The watcher's side."""

    def __init__(
        self, count: int, work: Callable[[Seat], None], on_ready: Callable[[], None], on_reload: Callable[[], bool]
    ) -> None:
        self._work = work
        self._on_ready = on_ready
        self._on_reload = on_reload
        self._workers: dict[int, _Worker] = {}
        self._due = dict.fromkeys(range(count), 0.0)  # seats without a worker, and when each gets one
        self._heard: deque[int] = deque()
        self._wake, self._bell = socket.socketpair()
        self._is_ending = self._was_ready = False
        self._code = 0

    def run(self) -> int:
        self._wake.setblocking(False)
        self._bell.setblocking(False)
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: self._heard.append(number))
        while self._workers or not self._is_ending:
            self._start_due()
            self._wait()
            while self._heard:
                self._take(self._heard.popleft())
            self._reap()
        return self._code

    def _start_due(self) -> None:
        now = time.monotonic()
        for index, due in list(self._due.items()):
            if due <= now and not self._is_ending:
                del self._due[index]
                self._start(index)

    def _start(self, index: int) -> None:
        line, watcher = socket.socketpair()
        logging.shutdown()  # what waits to be written is ours, not the worker's too
        # Until the worker has let go of our handlers a signal to it waits: they would take it, and forget it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                line.close()
                self._become(Seat(index=index, watcher=watcher))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        watcher.close()
        self._workers[pid] = _Worker(index, pid, line, time.monotonic())

    def _become(self, seat: Seat) -> None:
        """In the new process. Never returns."""
        code = 1
        try:
            # A terminal's Ctrl-C is for the watcher alone: a worker that got it twice would not drain.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for sibling in self._workers.values():
                sibling.line.close()
            self._wake.close()
            self._bell.close()
            self._work(seat)
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            logging.shutdown()
            os._exit(code)

    def _wait(self) -> None:
        """Until a signal, a worker's word, or the next start."""
        lines = [worker.line for worker in self._workers.values() if not worker.is_ready]
        now = time.monotonic()
        pause = min((max(due - now, 0.0) for due in self._due.values()), default=None) if not self._is_ending else None
        readable, _, _ = select.select([self._wake, *lines], [], [], pause)
        if self._wake in readable:
            self._wake.recv(4096)
        for worker in self._workers.values():
            if worker.line in readable and not worker.is_ready:
                worker.is_ready = worker.line.recv(1) == b"r"
                if worker.is_ready and worker.owes_reload:
                    os.kill(worker.pid, signal.SIGHUP)
        if not self._was_ready and not self._due and all(worker.is_ready for worker in self._workers.values()):
            self._was_ready = True
            self._on_ready()

    def _take(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._is_ending = True
            self._tell(number)
        elif number == signal.SIGHUP and self._on_reload():
            self._tell(number)

    def _tell(self, number: int) -> None:
        for worker in self._workers.values():
            if number == signal.SIGHUP and not worker.is_ready:
                # It does not listen yet, and would die of it.
                worker.owes_reload = True
                continue
            # Its number is its own until it is reaped.
            os.kill(worker.pid, number)

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[pid]
                worker.line.close()
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        if self._is_ending:
            # One that had not begun to listen ends by our signal itself, with nobody's stream open.
            is_well = code == 0 or (not worker.is_ready and code in (-signal.SIGTERM, -signal.SIGINT))
            self._code = self._code or (0 if is_well else 1)
            return
        fields = {"worker": worker.index, "pid": worker.pid, "exit_code": code}
        if not self._was_ready and not worker.is_ready:
            # Nobody has ever served: the next would fail like this one.
            logger.error("worker could not start", extra={"fields": fields})
            self._is_ending, self._code = True, 1
            self._tell(signal.SIGTERM)
            return
        logger.error("worker died, and is replaced", extra={"fields": fields})
        self._due[worker.index] = max(time.monotonic(), worker.started + PAUSE)


def describe(reasons: Sequence[str], clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """A slip with why its worker is not ready; more may be put on it."""
    return {"at": clock(), "reasons": list(reasons)}
