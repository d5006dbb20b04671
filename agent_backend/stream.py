"""An answer under way: one task makes it, whoever reads it and however they stop.

Rules: the task is never cancelled while it waits for a reader, so a cancellation always arrives inside ChatKit's
generators, where they save what was said so far: a reader who closes the stream, is cancelled, or drops it comes to the
same. What must happen at the end happens before the reader sees the end, and also when nothing had begun. The outbox
holds what a slow reader has not taken, up to a limit.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from chatkit.server import StreamingResult

# Bytes an answer may be ahead of its reader. Far above any answer in words; a reader this far behind has stopped.
MAX_UNREAD = 8 * 1024 * 1024


async def nothing() -> None:
    """What most streams must do at their end."""


class DrivenStream(StreamingResult):
    """The frames of one answer. ``at_end`` is awaited once, whatever happens in between."""

    def __init__(
        self, frames: AsyncGenerator[bytes, None], *, at_end: Callable[[], Awaitable[object]] = nothing
    ) -> None:
        super().__init__(frames)
        self.outbox = Outbox()
        self._at_end = at_end
        self._driver: asyncio.Task[None] | None = None
        self._has_begun = False
        self._is_unwanted = False

    def start(self) -> asyncio.Task[None]:
        """Begin; the frames come out of `outbox`."""
        if self._driver is None:
            self._driver = asyncio.create_task(self._drive())
            self._driver.add_done_callback(lambda _: self.outbox.close())
        return self._driver

    def cancel(self) -> None:
        """Stop it, wherever it is. A task that is cancelled before its first step would never do its end's work."""
        self._is_unwanted = True
        if self._driver is not None and self._has_begun:
            self._driver.cancel()

    async def aclose(self) -> None:
        """Stop it if it still runs, and wait until it has ended."""
        self.cancel()
        await asyncio.wait([self.start()])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        driver = self.start()
        try:
            async for frame in self.outbox:
                yield frame
        finally:
            await self.aclose()
        driver.result()

    async def _drive(self) -> None:
        """Move every frame to the outbox. Waits for the source only, never for the reader."""
        self._has_begun = True
        try:
            async with aclosing(self.json_events) as frames:
                if self._is_unwanted:
                    raise asyncio.CancelledError
                async for frame in frames:
                    self.outbox.put(frame)
                    if self.outbox.is_overfull:
                        self.cancel()
        finally:
            await self._at_end()


class Outbox:
    """Frames on their way out. Putting never waits; taking does."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unread = 0
        self.is_overfull = False

    def put(self, frame: bytes) -> None:
        self._unread += len(frame)
        self.is_overfull = self.is_overfull or self._unread > MAX_UNREAD
        self._frames.put_nowait(frame)

    def close(self) -> None:
        self._frames.put_nowait(None)

    def __aiter__(self) -> "Outbox":
        return self

    async def __anext__(self) -> bytes:
        frame = await self._frames.get()
        if frame is None:
            raise StopAsyncIteration
        self._unread -= len(frame)
        return frame
