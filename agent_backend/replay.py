"""Was this assertion used before?

Rules: an entry lives until its assertion has expired, and no live entry is ever given up: when the memory is full the
request is refused (503), because forgetting one entry would let that assertion be used twice. One process's memory;
replicas share `store.replays` instead.
"""

import heapq
import time
from collections.abc import Callable
from typing import Protocol

from agent_backend.problems import AssertionRefused, ReplayMemoryFull

# Entries. At 65 s each, about 1,500 requests a second; some 30 MB when full.
MAX_ENTRIES = 100_000


class Replays(Protocol):
    async def use(self, jti: str, *, until: float) -> None:
        """Note one use. Raises `AssertionRefused` on the second, `ReplayMemoryFull` when there is no room."""
        ...


class ReplayMemory:
    """The assertions used in this process, each until ``until`` (Unix seconds)."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES, clock: Callable[[], float] = time.time) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._used: set[str] = set()
        self._ends: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        return f"<ReplayMemory {len(self._used)} of {self._max_entries}>"

    async def use(self, jti: str, *, until: float) -> None:
        # No await below: the check and the note are one step.
        self._forget_ended()
        if jti in self._used:
            raise AssertionRefused("assertion_replayed", f"jti {jti!r} was used before")
        if len(self._used) >= self._max_entries:
            raise ReplayMemoryFull(repr(self))
        self._used.add(jti)
        heapq.heappush(self._ends, (until, jti))

    def _forget_ended(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            self._used.discard(heapq.heappop(self._ends)[1])
