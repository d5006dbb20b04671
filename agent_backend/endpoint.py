"""The one POST: assertion, operation, answer; and the stream, which ends the moment its reader is gone.

Rules: the stream itself is driven elsewhere (`stream`); here it is sent, and stopped when nobody reads it any more.
"""

import asyncio
import dataclasses
import logging

from chatkit.server import NonStreamingResult
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent_backend.access_log import Notes, notes_of
from agent_backend.problems import Problem
from agent_backend.server import AssistantServer
from agent_backend.stream import DrivenStream
from agent_backend.trust import GatewayTrust

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
        result = await self._server.process(context.body, context, is_gone=request.is_disconnected)
        if isinstance(result, NonStreamingResult):
            # One user's own: no cache may keep it for another.
            return Response(result.json, media_type="application/json", headers={"cache-control": "no-store"})
        return EventStream(result, notes=notes, streams=self._streams)


class EventStream(Response):
    """A `text/event-stream` that stops its source within moments of the client's leaving."""

    def __init__(self, source: DrivenStream, *, notes: Notes, streams: set[asyncio.Task[None]]) -> None:
        super().__init__(media_type="text/event-stream", headers=STREAM_HEADERS)
        # Response counts its (empty) body; a stream has no length.
        del self.headers["content-length"]
        self._source = source
        self._notes = notes
        self._driver = source.start()
        streams.add(self._driver)
        self._driver.add_done_callback(streams.discard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(watch(receive, self._source))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for frame in self._source.outbox:
                await send(part(frame))
            if is_broken(self._driver):
                self._notes["ended_by"] = self._ended_by(watcher)
                await send(part(INTERRUPTED))
        except asyncio.CancelledError:
            # Only a server that stops cancels a request, and this is the request's end: nobody above waits for the
            # cancellation, and uvicorn would log it as a crash.
            self._notes["ended_by"] = "shutdown"
            await send(part(INTERRUPTED))
        finally:
            watcher.cancel()
            await self._source.aclose()
            await asyncio.wait([watcher])
            await send(part(b"", more=False))

    def _ended_by(self, watcher: asyncio.Task[None]) -> str:
        """Who cut the stream: a client that left, a client that stopped reading, or something inside."""
        if watcher.done():
            return "client"
        return "unread" if self._source.outbox.is_overfull else "error"


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def is_broken(driver: asyncio.Task[None]) -> bool:
    """It ended before its own end. Every failure of a turn is told in its stream; one of the guard itself is not."""
    if driver.cancelled():
        return True
    if driver.exception():
        logger.error("a stream broke", exc_info=driver.exception())
    return driver.exception() is not None


async def watch(receive: Receive, source: DrivenStream) -> None:
    """Stop the answer when the client has left. The body was read before: only a disconnect can come."""
    while (await receive())["type"] != "http.disconnect":
        pass
    source.cancel()
