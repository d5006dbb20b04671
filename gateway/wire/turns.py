"""The end of the event loop's turn, for work that is best done together: what runs one after the other runs warm.

Knows nothing of the work.
"""

import asyncio
from collections.abc import Callable


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
