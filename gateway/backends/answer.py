"""One answer of a backend, filled by its connection and read by the relay.

Rules: push from the socket, pull by `read`; past a high-water mark the socket is no longer read; all that came is
delivered before a failure is. Knows nothing of HTTP's framing, which is the connection's, nor of what the bytes mean.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.backends.alarm import TICK, Alarm
from gateway.errors import GatewayError

Headers = list[tuple[bytes, bytes]]

# Takes what comes straight from the socket, without a turn of the loop between; False: this was its last.
Tap = Callable[[bytes], bool]

# Bytes buffered for a slow client before the backend's socket is no longer read: one chunk of a fast model's burst.
HIGH_WATER: Final = 64 * 1024


class Wire(Protocol):
    """What an answer needs of its connection."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def send_more(self, data: bytes) -> None: ...

    def finish_sending(self) -> None: ...

    @property
    def is_sending(self) -> bool: ...


class Answer:
    """One answer of a backend: its head, then its body as it comes.

    Args:
        alarm: The connection's; this answer's until it is complete.

    Attributes:
        status: 0 until the head is there.
        headers: Names in lower case.
        complete: The framing said that this is all.
        ended_by_close: Complete only in that the connection ended: it had no framing, and may have been cut.
        failure: What broke it off, or None.
        longest_gap: Seconds between two pieces of the body, at most so far; negative before the second.
    """

    __slots__ = (
        "_alarm",
        "_buffer",
        "_connection",
        "_end",
        "_end_at",
        "_last_at",
        "_loop",
        "_on_head",
        "_patience",
        "_size",
        "_tap",
        "_waiter",
        "complete",
        "ended_by_close",
        "failure",
        "headers",
        "longest_gap",
        "status",
    )

    def __init__(self, connection: Wire, loop: asyncio.AbstractEventLoop, alarm: Alarm) -> None:
        self.status = 0
        self.headers: Headers = []
        self.complete = self.ended_by_close = False
        self.failure: GatewayError | None = None
        self._connection = connection
        self._loop = loop
        self._alarm = alarm
        self._buffer: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[bool] | None = None
        self._on_head: Callable[[], Tap | None] | None = None
        self._tap: Tap | None = None
        self._patience = 0.0
        self._end_at = math.inf
        self._end: Callable[[], GatewayError] | None = None
        self.longest_gap = -1.0
        self._last_at = math.inf  # before the first piece there is no gap

    @property
    def is_being_asked(self) -> bool:
        """Is the request's body still on its way?"""
        return self._connection.is_sending

    async def send(self, data: bytes) -> None:
        """Send a piece of the request's body; waits while the backend does not keep up.

        Raises:
            GatewayError: The exchange failed.
        """
        await self._connection.send_more(data)
        if self.failure is not None:
            raise self.failure

    def finish_sending(self) -> None:
        """The request's body is complete."""
        self._connection.finish_sending()

    async def wait_for_head(self, seconds: float, on_head: Callable[[], Tap | None] | None = None) -> bool:
        """Wait until status and headers are there; False if that takes longer than ``seconds``.

        Args:
            on_head: Called in the moment they come, if this waits for them; what it returns takes what comes with them.

        Raises:
            GatewayError: The exchange failed before.
        """
        self._on_head = on_head
        try:
            while not self.status:
                if self.failure is not None:
                    raise self.failure
                if not await self._wait(seconds):
                    return False
            return True
        finally:
            self._on_head = self._tap = None

    async def read(self, seconds: float, tap: Tap | None = None) -> bytes | None:
        """What has come since the last call; waits for something if nothing has.

        Args:
            tap: Takes what comes while this waits. When it has had its last, this returns None.

        Returns:
            Body bytes; ``b""`` at the end of the answer; None if nothing came for ``seconds``.

        Raises:
            GatewayError: The answer broke off. Everything that came before has been returned.
        """
        while not self._buffer:
            if self.complete:
                return b""
            if self.failure is not None:
                raise self.failure
            self._tap = tap
            try:
                if not await self._wait(seconds):
                    return None
            finally:
                self._tap = None
        if self._end is not None:
            now = self._loop.time()
            if now >= self._end_at:
                # A backend that never lets us wait.
                self.fail(self._end())
            if now - self._last_at > self.longest_gap:
                self.longest_gap = now - self._last_at
            self._last_at = now
        return self.take()

    def take(self) -> bytes:
        """What has come since the last call, which may be nothing."""
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        # Once complete the connection is no longer this answer's: it may carry somebody else's already.
        if self._size > HIGH_WATER and not self.complete:
            self._connection.resume_reading()
        self._size = 0
        return data

    def end_in(self, seconds: float, failure: Callable[[], GatewayError]) -> None:
        """Break the exchange off when it takes longer than this, however lively it is. The sooner of several holds."""
        at = self._loop.time() + seconds
        if at < self._end_at:
            self._end_at, self._end = at, failure

    def fail(self, failure: GatewayError) -> None:
        """Break the exchange off; the reader learns it after what has already come."""
        if not self.complete and self.failure is None:
            self.failure = failure
            self._alarm.clear()
            self._wake()

    def close(self) -> None:
        """Nobody reads any more."""
        if not self.complete:
            self._alarm.clear()
        # It may lead back to this answer: an exchange leaves no cycle for the collector.
        self._end = None

    def put_head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        if self._on_head is not None and self._waiter is not None and not self._waiter.done():
            self._tap = self._on_head()
        self._wake()

    def put(self, data: bytes) -> None:
        # Somebody waits; or has been woken for the head, and nothing has gone wrong or piled up since.
        if self._tap is not None and (
            (self._waiter is not None and not self._waiter.done())
            or (self._on_head is not None and self.failure is None and not self._buffer)
        ):
            now = self._loop.time()
            if now < self._end_at:
                self._alarm.at = min(now + self._patience, self._end_at)
                if now - self._last_at > self.longest_gap:
                    self.longest_gap = now - self._last_at
                self._last_at = now
                if not self._tap(data):
                    self._tap = None
                    self._wake(has_news=False)
                return
        self._buffer.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._connection.pause_reading()
        self._wake()

    def finish(self, *, by_close: bool = False) -> None:
        self.complete, self.ended_by_close = True, by_close
        # Before somebody else's answer has the connection, and the alarm.
        self._alarm.clear()
        self._wake()

    def _wake(self, *, has_news: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(has_news)

    def _wait(self, seconds: float) -> Awaitable[bool]:
        """Sleep until woken, or for ``seconds``."""
        self._patience = seconds
        self._alarm.set(min(self._loop.time() + seconds, self._end_at), self._ring)
        self._waiter = self._loop.create_future()
        return self._waiter

    def _ring(self) -> None:
        if self._end is not None and self._loop.time() + TICK >= self._end_at:
            self.fail(self._end())
        else:
            self._wake(has_news=False)
