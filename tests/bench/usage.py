"""What a process and its children have used, and what the machine has: CPU seconds, memory. Source: proc(5).

A process that ends between two looks counts as nothing.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

# Seconds over which the machine is watched: some fifty ticks, and shorter than most of what disturbs.
LOOK = 0.5

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of ``pid`` and its living children and theirs."""
    return sum(_cpu_seconds(each) for each in _family(pid))


def memory(pid: int) -> int:
    """Proportional set size, in KiB: pages shared with others count by their share."""
    return sum(_memory(each) for each in _family(pid))


def busy_seconds() -> float:
    """CPU time that all processors together have spent on anything, or were kept from spending by their host."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    _, _, _, idle, waiting, *_ = fields
    return (sum(fields) - idle - waiting) / _TICKS


def await_calm(*, limit: float, patience: float) -> None:
    """Wait, ``patience`` seconds at most, until no more than ``limit`` processors are busy. We must not be."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        busy = busy_seconds()
        time.sleep(LOOK)
        if busy_seconds() - busy <= limit * LOOK:
            return


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The name in brackets may hold anything; behind it stand fields 3 and up, and 14 and 15 are meant.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _memory(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
