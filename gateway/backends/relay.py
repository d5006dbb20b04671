"""A backend's answer, handed to the client as it comes.

Rules: nothing is held back but an unfinished event; in an event stream whole events go out the moment they end, with
their own bytes; while the backend is silent a heartbeat goes out, only between events; a failure becomes one error
event after the last whole one. Any other answer goes through byte by byte, and if it breaks off the connection does
too, so that nobody takes a part for the whole. Knows nothing of the protocol in the events: framing is passed in.
"""

import types
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.backends.answer import Answer, Headers, Tap
from gateway.errors import (
    BackendBusy,
    BackendFailed,
    BackendInterrupted,
    BackendInvalid,
    BackendRefused,
    BackendTimeout,
    GatewayError,
)


class Splitter(Protocol):
    """Tells whole events from the beginning of the next one."""

    between_events: bool

    def feed(self, data: bytes) -> bytes: ...

    def rest(self) -> bytes: ...


class Framing(Protocol):
    """What the relay needs to know of one event stream."""

    heartbeat: bytes

    def is_event_stream(self, content_type: bytes | None) -> bool: ...

    def split(self) -> Splitter: ...

    def error_frame(self, error: GatewayError) -> bytes: ...


class Reply(Protocol):
    """What the relay needs of the client's side."""

    def start(self, status: int, headers: Headers) -> Awaitable[None]: ...

    def answer(self, status: int, headers: Headers, body: bytes) -> Awaitable[None]: ...

    def start_stream(self, headers: Headers) -> Awaitable[None]: ...

    def write(self, data: bytes) -> Awaitable[None]: ...

    def end(self, data: bytes = b"") -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTimes:
    """Limits of one answer.

    Attributes:
        first_byte: Seconds until the backend's status.
        idle: Seconds of silence in the middle of an answer.
        heartbeat: Seconds of silence towards the client.
    """

    first_byte: float
    idle: float
    heartbeat: float


async def relay_answer(answer: Answer, reply: Reply, times: RelayTimes) -> GatewayError | None:
    """Relay an answer that is one piece: JSON, usually.

    Returns:
        What broke it off once it had started, or None. The reply is then left unfinished.

    Raises:
        GatewayError: It failed before it started.
    """
    if not await answer.wait_for_head(times.first_byte):
        raise _no_answer(times)
    failure = judge_json(answer.status, _content_type(answer))
    if failure is not None:
        raise failure
    if answer.complete:
        await reply.answer(answer.status, answer.headers, answer.take())
        return None
    return await _relay_bytes(answer, reply, times)


async def relay_opaque(answer: Answer, reply: Reply, times: RelayTimes, max_answer: int) -> GatewayError | None:
    """Relay an answer of any kind, redirects and refusals too, up to ``max_answer`` bytes.

    Returns, raises: As `relay_answer`.
    """
    if not await answer.wait_for_head(times.first_byte):
        raise _no_answer(times)
    declared = next((value for name, value in answer.headers if name == b"content-length"), b"0")
    if len(declared) > 15 or int(declared) > max_answer:
        raise BackendInvalid(f"an answer of {declared!r:.40} bytes, max_answer is {max_answer}")
    return await _relay_bytes(answer, reply, times, max_answer)


def _no_answer(times: RelayTimes) -> BackendTimeout:
    return BackendTimeout(f"no answer within {times.first_byte:.0f} s")


async def _relay_bytes(
    answer: Answer, reply: Reply, times: RelayTimes, max_answer: int | None = None
) -> GatewayError | None:
    await reply.start(answer.status, answer.headers)
    size = 0
    try:
        while data := await answer.read(times.idle):
            size += len(data)
            if max_answer is not None and size > max_answer:
                return BackendInvalid(f"an answer of more than {max_answer} bytes (max_answer)")
            if answer.complete:
                await reply.end(data)
                return None
            await reply.write(data)
    except GatewayError as exc:
        return exc
    if data is None:
        return BackendTimeout(f"silent for {times.idle:.0f} s in the middle of an answer")
    await reply.end()
    return None


async def relay_stream(answer: Answer, reply: Reply, times: RelayTimes, framing: Framing) -> GatewayError | None:
    """Relay an event stream.

    Until the first heartbeat is due the backend's status decides what the client gets; after it everything is an event.

    Returns:
        What broke it off after it had started, or None. The client has then been told, unless the failure fell into an
        event that was already half out: the reply is then left unfinished.

    Raises:
        GatewayError: It failed before it started.
    """
    pump = _Pump(answer, reply, framing)
    if not await answer.wait_for_head(min(times.heartbeat, times.first_byte), pump.start):
        await reply.start_stream([])
        failure = await _await_head(answer, reply, times, framing)
        if failure is not None:
            await reply.end(framing.error_frame(failure))
            return failure
        return await _relay_events(answer, reply, times, framing, pump)
    pump.start()
    if pump.is_started:
        return await _relay_events(answer, reply, times, framing, pump)
    failure = judge_stream(answer.status, _content_type(answer))
    if failure is not None:
        raise failure
    return await _relay_bytes(answer, reply, times)


def judge_json(status: int, content_type: bytes | None) -> GatewayError | None:
    """Why an answer to a JSON operation cannot be handed on, or None.

    A 2xx or 4xx in JSON can. A person never sees a backend's HTML page, a fetch is never redirected, and a 5xx becomes
    the gateway's own.
    """
    if 200 <= status < 300 and (status == 204 or _is_json(content_type)):
        return None
    return judge_stream(status, content_type)


def judge_stream(status: int, content_type: bytes | None) -> GatewayError | None:
    """Why an answer to a streaming operation that is no event stream cannot be handed on, or None.

    Only a 4xx in JSON can: the client takes it as final, while anything else would make it send the same again.
    """
    said = f"answered {status} {content_type!r:.80}"
    if 400 <= status < 500:
        return None if _is_json(content_type) else BackendRefused(said, status=status)
    if status == 503:
        return BackendBusy(said)
    if status == 504:
        return BackendTimeout(said)
    return BackendFailed(said) if status >= 500 else BackendInvalid(said)


async def _await_head(answer: Answer, reply: Reply, times: RelayTimes, framing: Framing) -> GatewayError | None:
    """The stream has begun without the backend: heartbeats until it answers, or what went wrong."""
    waited = times.heartbeat
    try:
        while waited < times.first_byte:
            await reply.write(framing.heartbeat)
            step = min(times.heartbeat, times.first_byte - waited)
            if await answer.wait_for_head(step):
                return _late_refusal(answer, framing)
            waited += step
    except GatewayError as exc:
        return exc
    return _no_answer(times)


def _late_refusal(answer: Answer, framing: Framing) -> GatewayError | None:
    """Like `judge_stream`, once a stream has begun: even a 4xx has to become an event."""
    if _is_stream(answer, framing):
        return None
    content_type = _content_type(answer)
    said = f"answered {answer.status} {content_type!r:.80} after the stream had begun"
    return judge_stream(answer.status, content_type) or BackendRefused(said, status=answer.status)


def _is_stream(answer: Answer, framing: Framing) -> bool:
    """Compressed it is none: its events could not be told apart, nor could ours be put between them."""
    is_plain = _header(answer, b"content-encoding") in (None, b"identity")
    return answer.status == 200 and is_plain and framing.is_event_stream(_content_type(answer))


def _content_type(answer: Answer) -> bytes | None:
    return _header(answer, b"content-type")


def _header(answer: Answer, name: bytes) -> bytes | None:
    for key, value in answer.headers:
        if key == name:
            return value
    return None


def _is_json(content_type: bytes | None) -> bool:
    if content_type == b"application/json":
        return True
    media_type = (content_type or b"").partition(b";")[0].strip().lower()
    return media_type == b"application/json" or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )


async def _relay_events(
    answer: Answer, reply: Reply, times: RelayTimes, framing: Framing, pump: "_Pump"
) -> GatewayError | None:
    events = pump.events
    try:
        while True:
            if pump.is_held_up:
                await pump.finish()
            wait = min(times.heartbeat, times.idle - pump.silent)
            data = await answer.read(wait, pump.take)
            if pump.is_held_up:
                continue
            if data == b"":
                break
            pump.silent = 0.0 if data else pump.silent + wait
            ready = _due(data, events, framing, timed_out=pump.silent >= times.idle)
            if ready:
                await reply.write(ready)
    except GatewayError as exc:
        if events.between_events:
            await reply.end(framing.error_frame(exc))
        return exc
    rest = events.rest()
    if rest and answer.ended_by_close:
        # No framing said that this is all, and it stops within an event: the backend died.
        failure = BackendInterrupted("the connection ended within an event")
        await reply.end(framing.error_frame(failure))
        return failure
    await reply.end(rest)
    return None


class _Pump:
    """Moves a stream's head and events from the backend's socket to the client's in the callback that brings them.

    A stream is thousands of small events, and to wake its task for each costs more than the event. For an event the
    task is woken only when the client does not keep up: it then waits for the write that could not be finished.

    Attributes:
        events: What came and is no whole event yet.
        is_started: The client's answer has begun.
        silent: Seconds since something came.
    """

    __slots__ = ("_answer", "_failure", "_framing", "_reply", "_unfinished", "events", "is_started", "silent")

    def __init__(self, answer: Answer, reply: Reply, framing: Framing) -> None:
        self.events = framing.split()
        self.is_started = False
        self.silent = 0.0
        self._answer = answer
        self._reply = reply
        self._framing = framing
        self._unfinished: Awaitable[None] | None = None
        self._failure: Exception | None = None

    def start(self) -> Tap | None:
        """Begin the client's answer, once, if the backend's is an event stream.

        Returns:
            What takes its events; None if it is none, or the writing has to be finished by the task.
        """
        if self.is_started or not _is_stream(self._answer, self._framing):
            return None
        self.is_started = True
        try:
            self._unfinished = _begin(self._reply.start_stream(self._answer.headers))
        except Exception as exc:
            # It belongs to the request, not to the socket whose callback this is.
            self._failure = exc
        return None if self.is_held_up else self.take

    def take(self, data: bytes) -> bool:
        """Pass on what is whole. False when the writing has to be finished by the task."""
        self.silent = 0.0
        ready = self.events.feed(data)
        if not ready:
            return True
        try:
            self._unfinished = _begin(self._reply.write(ready))
        except Exception as exc:
            self._failure = exc
            return False
        return self._unfinished is None

    @property
    def is_held_up(self) -> bool:
        """The last write was not finished: nothing more is taken before `finish`."""
        return self._unfinished is not None or self._failure is not None

    async def finish(self) -> None:
        """Finish the last write."""
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                # Its traceback leads here, and back to it.
                del failure
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            await unfinished


def _begin(work: Awaitable[None]) -> Awaitable[None] | None:
    """Do ``work`` as far as it goes without waiting; what is left of it, or None."""
    steps = work.__await__()
    try:
        waits_for = next(steps)
    except StopIteration:
        return None
    return _rest(steps, waits_for)


@types.coroutine
def _rest(steps: Generator[Any, None, None], waits_for: Any) -> Generator[Any, None, None]:
    try:
        while True:
            yield waits_for
            waits_for = next(steps)
    except StopIteration:
        return
    finally:
        steps.close()


def _due(data: bytes | None, events: Splitter, framing: Framing, *, timed_out: bool) -> bytes:
    """What goes out now: whole events, or a heartbeat if nothing came and it would not fall into an event."""
    if data is not None:
        return events.feed(data)
    if timed_out:
        raise BackendTimeout("silent for too long in the middle of a stream (idle_timeout)")
    return framing.heartbeat if events.between_events else b""
