"""One timer of the event loop, set anew as often as one likes.

Rules: to set it later costs nothing; a timer that fires too early is set again then. So a connection that carries a
thousand events a second, or a thousand short answers, sets a real timer a few times a minute.
"""

import asyncio
from collections.abc import Callable

# Seconds. A timer may fire a clock tick early; the difference is not worth another round.
TICK = 0.001


class Alarm:
    """Calls when the time has come.

    Attributes:
        at: When, in the loop's time; may be put off while it is set.
    """

    __slots__ = ("_due", "_loop", "_timer", "_timer_at", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.at = 0.0
        self._loop = loop
        self._due: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, at: float, due: Callable[[], None]) -> None:
        """Call ``due`` at this time, and forget what was to be called before."""
        self.at, self._due = at, due
        if self._timer is not None and self._timer_at > at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._arm()

    def clear(self) -> None:
        """Call nobody. The timer runs on, for whoever sets this next."""
        self._due = None

    def stop(self) -> None:
        """Nobody will set this again."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer_at = self.at
        self._timer = self._loop.call_at(self.at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due = self._due
        if due is None:
            return
        if self._loop.time() + TICK < self.at:
            self._arm()
            return
        self._due = None
        due()
