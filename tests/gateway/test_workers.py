"""The board on which workers tell each other how they are, and the watcher that starts and ends them."""

import subprocess
import sys

import pytest

from gateway.workers import SLIP, STALE, Board, describe

# A child writes slips as fast as it can and is killed at any moment; its successor reads what is left and goes on.
KILLED_WRITERS = """
import os, signal, time
from gateway.workers import Board

board = Board(1)
last = 0
for generation in range(40):
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        slip = board.read(0)
        count = slip["count"] if slip else 0
        os.write(tell, b"r")
        while True:
            count += 1
            board.post(0, {"count": count, "text": str(count) * 20_000})
    os.read(told, 1)
    time.sleep(0.003 + generation * 0.0002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    slip = board.read(0)
    assert slip is not None or generation == 0, generation
    if slip is not None:
        assert slip["text"] == str(slip["count"]) * 20_000, "torn"
        assert slip["count"] >= last, (slip["count"], last)
        last = slip["count"]
assert last > 40, last
"""

# A watcher that is signalled as soon as it has forked, and a worker that takes its time before it listens.
SIGNALLED_AT_START = """
import asyncio, os, signal, sys, time
from gateway.workers import run_workers

async def serve(seat):
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: (print("told"), os.kill(os.getppid(), signal.SIGTERM)))
    seat.on_orphaned = ended.set
    seat.announce()
    await ended.wait()

def work(seat):
    time.sleep(float(sys.argv[3]))
    asyncio.run(serve(seat))
    sys.stdout.flush()

os.register_at_fork(
    after_in_parent=lambda: os.kill(os.getpid(), signal.Signals[sys.argv[1]]),
    after_in_child=lambda: time.sleep(float(sys.argv[2])),
)
sys.exit(run_workers(1, work, on_ready=lambda: None, on_reload=lambda: True))
"""


@pytest.mark.parametrize(("name", "told"), [("SIGHUP", "told\n"), ("SIGTERM", "")])
@pytest.mark.parametrize("times", [("0.3", "0"), ("0", "0.3")], ids=["just forked", "starting"])
def test_a_signal_at_the_start_is_neither_lost_nor_a_crash(name: str, told: str, times: tuple[str, str]) -> None:
    """A reload reaches the worker once it listens; the end is the end, and a good one."""
    command = [sys.executable, "-c", SIGNALLED_AT_START, name, *times]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_each_has_a_slip_of_its_own_and_the_last_word_counts() -> None:
    """Nobody's is anybody else's; the watcher has one too."""
    board = Board(2)
    board.post(0, {"says": "first"})
    board.post(0, {"says": "second"})
    board.post(board.watcher, {"says": "watcher"})

    assert (board.read(0), board.read(1)) == ({"says": "second"}, None)
    assert board.read_all() == [{"says": "second"}, {"says": "watcher"}]


def test_a_worker_killed_while_it_writes_leaves_a_whole_slip() -> None:
    """Its last word or the one before, never a torn one and never none: its successor goes on from its counts."""
    done = subprocess.run([sys.executable, "-c", KILLED_WRITERS], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


def test_one_that_has_not_been_heard_of_speaks_for_nobody() -> None:
    """At both sides of the edge; oneself is not asked."""
    board = Board(3)
    board.post(0, describe(["mine"], clock=lambda: 100.0))
    board.post(1, describe(["draining"], clock=lambda: 100.0))
    board.post(2, describe([], clock=lambda: 100.0))

    assert board.reasons(but=0, clock=lambda: 100.0 + STALE - 0.1) == ["worker 1: draining"]
    assert board.reasons(but=0, clock=lambda: 100.0 + STALE + 0.1) == []


def test_a_slip_has_an_end() -> None:
    """Nobody writes into a neighbour's."""
    board = Board(2)
    board.post(1, {"says": "here"})
    with pytest.raises(ValueError, match=f"{SLIP - 16} fit"):
        board.post(0, {"says": "x" * SLIP})

    assert (board.read(0), board.read(1)) == (None, {"says": "here"})
