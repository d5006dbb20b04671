"""AssistantServer: what to do with one ChatKit operation, for one verified user.

Rules: what cannot be done is refused before a stream begins (`preconditions`). Once it has begun, whatever goes wrong
becomes exactly one `error` event. A stream that is cancelled stops the model, and keeps what was said so far. All times
leave in UTC. Knows nothing of HTTP; the endpoint is in `endpoint`.

It overrides a few methods that ChatKitServer calls its own (`_process_streaming`, `_serialize`): the package is pinned
to one minor version, and the tests of this module hold each of them.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from agents import Agent, RunConfig, Runner
from chatkit.agents import AgentContext, stream_agent_response
from chatkit.errors import ErrorCode
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    ChatKitReq,
    ErrorEvent,
    FeedbackKind,
    InputTranscribeReq,
    ProgressUpdateEvent,
    StreamingReq,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadMetadata,
    ThreadsCustomActionReq,
    ThreadsSyncCustomActionReq,
    ThreadStreamEvent,
    UserMessageItem,
    UserMessageTextContent,
    is_streaming_req,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent_backend.agent import ChatContext
from agent_backend.context import RequestContext
from agent_backend.events import until_cancelled, with_own_ids
from agent_backend.history import build_input, load_history
from agent_backend.preconditions import check_request
from agent_backend.problems import InvalidRequest, NotFound, NotSupported
from agent_backend.store import SqlStore
from agent_backend.store.times import in_utc

# Items of a thread the model is given: some twenty turns, as much as people refer back to.
MAX_ITEMS = 40
# Characters of a thread's title: one line in the list of conversations.
MAX_TITLE = 60

# Operations ChatKitServer leaves to a method that its subclass may have.
NEEDED_METHODS: dict[type, str] = {
    ThreadsCustomActionReq: "action",
    ThreadsSyncCustomActionReq: "sync_action",
    InputTranscribeReq: "transcribe",
}
REQUEST = TypeAdapter[ChatKitReq](ChatKitReq)
logger = logging.getLogger(__name__)


class AssistantServer(ChatKitServer[RequestContext]):
    """One agent, one store, any number of users."""

    def __init__(
        self, *, store: SqlStore, agent: Agent[ChatContext], run_config: RunConfig, max_items: int = MAX_ITEMS
    ) -> None:
        super().__init__(store)
        self._sql = store
        self._agent = agent
        self._run_config = run_config
        self._max_items = max_items
        self._savings: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<AssistantServer {self._agent.name} {self._sql!r}>"

    async def process(
        self, request: str | bytes | bytearray, context: RequestContext
    ) -> StreamingResult | NonStreamingResult:
        """One operation. Raises a `Problem` for what cannot be done, always before a stream has begun."""
        parsed = parse_request(request)
        note_request(context, parsed)
        try:
            await check_request(self.store, parsed, context)
            self._check_supported(parsed)
            if is_streaming_req(parsed):
                return StreamingResult(self._process_streaming(parsed, context))
            return NonStreamingResult(await self._process_non_streaming(parsed, context))
        except NotFoundError as exc:
            raise NotFound(str(exc)) from exc

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Ask the agent, and stream what it says. Without a message too: after a tool's output, for example."""
        if thread.title is None and input_user_message is not None:
            thread.title = title_of(input_user_message)
        items = await load_history(self.store, thread, context, max_items=self._max_items)
        model_input = await build_input(items, context.page)
        context.notes["items"] = len(model_input)
        run: ChatContext = AgentContext(thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(self._agent, model_input, context=run, run_config=self._run_config)
        events = stream_agent_response(run, result)
        try:
            async with aclosing(until_cancelled(events, stop=result.cancel)) as running:
                async for event in with_own_ids(running, new_id=lambda: run.generate_id("message")):
                    yield event
        finally:
            # When the model fails, ChatKit leaves a reader waiting at this queue for ever. Give it something.
            await run.stream(ProgressUpdateEvent(text=""))

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        await self._sql.save_feedback(thread_id, item_ids, feedback, context)

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        """Keep the partial answer. Shielded: the cancellation that brings us here must not stop the saving."""
        await self._finish_first(super().handle_stream_cancelled(thread, pending_items, context))

    async def _finish_first(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it to its end, whoever is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._savings.add(task)
        task.add_done_callback(self._savings.discard)
        await asyncio.shield(task)

    async def finish_savings(self) -> None:
        """Wait for partial answers still being saved; at shutdown."""
        if self._savings:
            await asyncio.wait(self._savings)

    def _check_supported(self, request: ChatKitReq) -> None:
        """ChatKitServer fails on these in the middle; say it cleanly until a subclass or a store provides them."""
        method = NEEDED_METHODS.get(type(request))
        if method and getattr(type(self), method) is getattr(ChatKitServer, method):
            raise NotSupported(request.type)
        if isinstance(request, AttachmentsCreateReq | AttachmentsDeleteReq) and self.attachment_store is None:
            raise NotSupported(request.type)

    async def _process_streaming(self, request: StreamingReq, context: RequestContext) -> AsyncGenerator[bytes, None]:
        seen: set[str] = set()
        try:
            async with aclosing(self._process_streaming_impl(request, context)) as events:
                async for event in events:
                    seen.add(event.type)
                    note_event(context, event)
                    yield self._frame(event)
        except asyncio.CancelledError:
            # The client left before its first message was stored: an empty thread would stay in its list for ever.
            if seen == {"thread.created"}:
                await self._finish_first(self.store.delete_thread(str(context.notes["thread_id"]), context))
            raise
        except Exception:
            logger.exception("a stream failed", extra={"request_id": context.request_id})
            if "error" not in seen:
                context.notes["ended_by"] = "error"
                yield self._frame(ErrorEvent(code=ErrorCode.STREAM_ERROR, allow_retry=True))

    def _frame(self, event: ThreadStreamEvent) -> bytes:
        return b"data: " + self._serialize(event) + b"\n\n"

    def _serialize(self, obj: BaseModel) -> bytes:
        return super()._serialize(in_utc(obj))


def parse_request(request: str | bytes | bytearray) -> ChatKitReq:
    try:
        return REQUEST.validate_json(request)
    except ValidationError as exc:
        # Only where and what kind: the values are the user's words.
        places = [f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in exc.errors()[:5]]
        raise InvalidRequest("; ".join(places)) from exc


def note_request(context: RequestContext, request: ChatKitReq) -> None:
    context.notes["operation"] = request.type
    thread_id = getattr(request.params, "thread_id", None)
    if isinstance(thread_id, str):
        context.notes["thread_id"] = thread_id[:64]


def note_event(context: RequestContext, event: ThreadStreamEvent) -> None:
    if isinstance(event, ThreadCreatedEvent):
        context.notes["thread_id"] = event.thread.id
    if isinstance(event, ErrorEvent):
        context.notes["ended_by"] = "error"


def title_of(message: UserMessageItem) -> str | None:
    """The first line or so of the user's message."""
    texts = (part.text for part in message.content if isinstance(part, UserMessageTextContent))
    words = " ".join(" ".join(texts).split())
    if len(words) <= MAX_TITLE:
        return words or None
    return words[: MAX_TITLE - 1].rsplit(" ", 1)[0] + "…"
