"""When to do work that nobody waits for: at the end of the event loop's turn, or in its next lull.

Such work is best done together: what runs one after the other runs warm. And it is best done while the loop would only
wait: behind an answer it would keep the client's next request waiting, behind a request the backend is at work anyway.

Knows nothing of the work.
"""

import asyncio
from collections.abc import Callable
from typing import Final

# Seconds. Nobody who reads a log or a counter notices; the next request of a busy process comes sooner.
PATIENCE: Final = 0.003


class TurnEnd:
    """Calls ``work`` once when a turn is over, however often it was asked for in it; at once where no loop runs."""

    __slots__ = ("_loop", "_work")

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        # Where it is asked for. A loop that ended before it got to it does not keep another from it.
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._work()
            return
        if self._loop is not loop:
            loop.call_soon(self._run)
            self._loop = loop

    def _run(self) -> None:
        self._loop = None
        self._work()


class Lull:
    """Calls work when somebody says that the loop will wait now, and in any case after `PATIENCE`."""

    __slots__ = ("_asked", "_is_due", "_loop")

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []
        self._is_due = False
        # Where a timer runs: one for all that is asked for meanwhile. As in `TurnEnd`.
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, work: Callable[[], None]) -> None:
        """Call ``work`` once in the next lull, however often it is asked for; at once where no loop runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work()
            return
        if work not in self._asked:
            self._asked.append(work)
        if self._loop is not loop:
            loop.call_later(PATIENCE, self._run_late)
            self._loop = loop

    def offer(self) -> None:
        """A request is on its way: there is time when this turn of the loop is over."""
        if self._asked and not self._is_due:
            asyncio.get_running_loop().call_soon(self._run)
            self._is_due = True

    def _run_late(self) -> None:
        self._loop = None
        self._run()

    def _run(self) -> None:
        self._is_due = False
        asked, self._asked = self._asked, []
        for work in asked:
            work()
