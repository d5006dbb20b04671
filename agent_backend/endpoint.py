"""The one POST: assertion, operation, answer; and the stream, which ends the moment its reader is gone.

Rules: a stream is driven by one task, which is cancelled when the client leaves, and never while it waits for the
client: so a cancellation always arrives inside ChatKit's generators, and they can save what was said so far. The queue
between the two holds what a slow reader has not taken, up to a limit.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterable

from chatkit.server import NonStreamingResult, StreamingResult
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent_backend.access_log import Notes, notes_of
from agent_backend.problems import Problem
from agent_backend.server import AssistantServer
from agent_backend.trust import GatewayTrust

# Bytes an answer may be ahead of its reader. Far above any answer in words; a reader this far behind has stopped.
MAX_UNREAD = 8 * 1024 * 1024
# Seconds for streams to end once they were cut; saving a partial answer takes milliseconds.
FINISH_TIMEOUT = 3.0
# The end of an answer that stops short with us: asking again is the right thing to do.
INTERRUPTED = (
    b'data: {"type":"error","code":"custom","message":"The answer was interrupted. Please try again.",'
    b'"allow_retry":true}\n\n'
)
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

logger = logging.getLogger(__name__)


class ChatEndpoint:
    """Answers ChatKit requests that the gateway vouches for."""

    def __init__(self, *, trust: GatewayTrust, server: AssistantServer) -> None:
        self._trust = trust
        self._server = server
        self._streams: set[asyncio.Task[None]] = set()

    async def finish(self) -> None:
        """Wait for streams that were cut at shutdown: they still save what was said, and tell their clients."""
        if self._streams:
            await asyncio.wait(self._streams, timeout=FINISH_TIMEOUT)

    async def answer(self, request: Request) -> Response:
        notes = notes_of(request.scope)
        try:
            return await self._answer(request, notes)
        except Problem as problem:
            notes.update(code=problem.code, reason=str(problem)[:200])
            return problem.response(str(notes.get("request_id") or "") or request.headers.get("x-request-id"))
        except Exception:
            logger.exception("a request failed", extra={"request_id": notes.get("request_id")})
            return Problem().response(str(notes.get("request_id") or ""))

    async def _answer(self, request: Request, notes: Notes) -> Response:
        verified = await self._trust.authenticate(request)
        notes.update(request_id=verified.request_id, user=verified.user.digest)
        context = dataclasses.replace(verified, notes=notes)
        result = await self._server.process(context.body, context)
        if isinstance(result, NonStreamingResult):
            # One user's own: no cache may keep it for another.
            return Response(result.json, media_type="application/json", headers={"cache-control": "no-store"})
        return EventStream(result, notes=notes, streams=self._streams)


class EventStream(Response):
    """A `text/event-stream` that stops its source within moments of the client's leaving."""

    def __init__(self, source: StreamingResult, *, notes: Notes, streams: set[asyncio.Task[None]]) -> None:
        super().__init__(media_type="text/event-stream", headers=STREAM_HEADERS)
        # Response counts its (empty) body; a stream has no length.
        del self.headers["content-length"]
        self._source = source
        self._notes = notes
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        outbox = Outbox()
        driver = self._start_driver(outbox)
        watcher = asyncio.create_task(watch(receive, driver))
        try:
            async for frame in outbox:
                await send(part(frame))
            if driver.cancelled():
                self._notes["ended_by"] = ended_by(watcher, outbox)
                await send(part(INTERRUPTED))
        except asyncio.CancelledError:
            # Only a server that stops cancels a request, and this is the request's end: nobody above waits for the
            # cancellation, and uvicorn would log it as a crash.
            self._notes["ended_by"] = "shutdown"
            await send(part(INTERRUPTED))
        finally:
            await stop(watcher, driver)
            await send(part(b"", more=False))

    def _start_driver(self, outbox: "Outbox") -> asyncio.Task[None]:
        driver = asyncio.create_task(drive(self._source, outbox))
        # Not in the driver itself: a task cancelled before its first step never gets to its `finally`.
        driver.add_done_callback(lambda _: outbox.close())
        self._streams.add(driver)
        driver.add_done_callback(self._streams.discard)
        return driver


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def ended_by(watcher: asyncio.Task[None], outbox: "Outbox") -> str:
    """Who cut the stream: a client that left, a client that stopped reading, or something inside."""
    if watcher.done():
        return "client"
    return "unread" if outbox.is_overfull else "error"


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


async def drive(source: AsyncIterable[bytes], outbox: Outbox) -> None:
    """Move every frame of the source to the outbox. Waits for the source only, never for the reader."""
    driver = asyncio.current_task()
    async for frame in source:
        outbox.put(frame)
        if outbox.is_overfull and driver is not None:
            driver.cancel()


async def watch(receive: Receive, driver: asyncio.Task[None]) -> None:
    """Cancel the driver when the client has left. The body was read before: only a disconnect can come."""
    while (await receive())["type"] != "http.disconnect":
        pass
    driver.cancel()


async def stop(*tasks: asyncio.Task[None]) -> None:
    """Cancel what still runs, and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
