"""What is written within one turn of the event loop: the first piece at once, the others together at its end.

A piece that goes out wakes whoever waits for it, on another core, and that costs as much as sending it. A busy process
begins and ends dozens of requests in a turn. Written together they find the other side awake, and the gateway takes an
eighth less time for each; where a turn has only one, nothing is held back. Meant for whole requests and whole answers:
the pieces of a stream go out when they come.

What is still to be made for a piece is made then as well, all of it before the first is written. To sign one takes
tables larger than the processor's first cache: what runs behind it runs slowly, so signatures come one after the other.

Knows nothing of connections, nor of what they write.
"""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("gateway.outbox")


class Outbox:
    """Shared by connections of one event loop whose other sides are likely to be the same process."""

    __slots__ = ("_makes", "_writes")

    def __init__(self) -> None:
        self._makes: list[Callable[[], None]] = []
        self._writes: list[Callable[[], None]] | None = None  # None: nothing has been written in this turn

    def put(
        self, loop: asyncio.AbstractEventLoop, write: Callable[[], None], make: Callable[[], None] | None = None
    ) -> None:
        """Call ``make`` and then ``write``: now, or at the end of this turn if others were called in it.

        Then one that raises is logged, and the others are called all the same.
        """
        if self._writes is None:
            loop.call_soon(self._end_turn)
            self._writes = []
            if make is not None:
                make()
            write()
            return
        self._writes.append(write)
        if make is not None:
            self._makes.append(make)

    def _end_turn(self) -> None:
        makes, self._makes = self._makes, []
        writes, self._writes = self._writes, None
        for step in (*makes, *(writes or ())):
            try:
                step()
            except Exception:
                logger.exception("a request or an answer could not be sent")
