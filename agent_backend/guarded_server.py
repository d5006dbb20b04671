"""GuardedServer: a ChatKitServer that keeps its promises, whatever it is that answers.

Rules: what cannot be done is refused before a stream begins (`preconditions`), and one turn runs in a thread at a time
(`store`). Once a stream has begun, whatever goes wrong becomes exactly one `error` event (`guard`). A cancelled one
keeps what was said so far. All times leave in UTC. Knows nothing of HTTP, agents or models: a subclass says how to
`respond`.

It overrides a few methods that ChatKitServer calls its own (`_process_streaming_impl`, `_process_events`,
`_serialize`): the package is pinned to one minor version, and the tests of this module hold
each of them.
"""

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

from chatkit.server import ChatKitServer, NonStreamingResult
from chatkit.store import AttachmentStore, NotFoundError
from chatkit.types import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    ChatKitReq,
    FeedbackKind,
    InputTranscribeReq,
    StreamingReq,
    ThreadItem,
    ThreadMetadata,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsCustomActionReq,
    ThreadsDeleteReq,
    ThreadsRetryAfterItemReq,
    ThreadsSyncCustomActionReq,
    ThreadStreamEvent,
    ThreadsUpdateReq,
    ThreadUpdateParams,
    is_streaming_req,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent_backend.context import RequestContext
from agent_backend.guard import guarded
from agent_backend.preconditions import check_request
from agent_backend.problems import InvalidRequest, NotFound, NotSupported, ThreadBusy
from agent_backend.store import Lease, Leases, SqlStore
from agent_backend.store.leases import IsGone
from agent_backend.store.times import in_utc
from agent_backend.stream import DrivenStream
from agent_backend.tasks import to_the_end

# Operations ChatKitServer leaves to a method that its subclass may have.
NEEDED_METHODS: dict[type, str] = {
    ThreadsCustomActionReq: "action",
    ThreadsSyncCustomActionReq: "sync_action",
    InputTranscribeReq: "transcribe",
}
# Characters of a name that a user gives a conversation: lists have a hundred of them, each in one line.
MAX_TITLE = 1000
REQUEST = TypeAdapter[ChatKitReq](ChatKitReq)


async def nobody_is() -> bool:
    """Where there is no connection, nobody leaves."""
    return False


class GuardedServer(ChatKitServer[RequestContext]):
    """ChatKit's operations for verified users. Abstract: `respond` is missing."""

    def __init__(
        self,
        *,
        store: SqlStore,
        leases: Leases | None = None,
        attachment_store: AttachmentStore[RequestContext] | None = None,
    ) -> None:
        super().__init__(store, attachment_store)
        self._sql = store
        self._leases = leases or Leases(engine=store.engine)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._sql!r}>"

    async def process(
        self, request: str | bytes | bytearray, context: RequestContext, *, is_gone: IsGone = nobody_is
    ) -> DrivenStream | NonStreamingResult:
        """One operation. Raises a `Problem` for what cannot be done, always before a stream has begun.

        Args:
            is_gone: Has the client left? Asked while a turn waits for its thread.
        """
        parsed = parse_request(request)
        note_request(context, parsed)
        try:
            if is_streaming_req(parsed):
                return await self._begin(parsed, context, is_gone)
            await self.check(parsed, context)
            if isinstance(parsed, ThreadsUpdateReq):
                return NonStreamingResult(await self._rename(parsed.params, context))
            answer = NonStreamingResult(await self._process_non_streaming(parsed, context))
        except NotFoundError as exc:
            raise NotFound(str(exc)) from exc
        if isinstance(parsed, ThreadsDeleteReq):
            self._leases.lose(parsed.params.thread_id)
        return answer

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise a `Problem` or `NotFoundError` for what cannot be begun. A subclass may look for more."""
        await check_request(self.store, request, context)
        self._check_supported(request)

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        await self._sql.save_feedback(thread_id, item_ids, feedback, context)

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        """Keep the partial answer: to the end, because the cancellation that brings us here must not stop that."""
        await to_the_end(self._keep_partial(thread, pending_items, context))

    async def _keep_partial(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: RequestContext
    ) -> None:
        # One that was cancelled while it was being stored is stored by now, and whole.
        unsaved = [item for item in pending_items if not await self._sql.has_item(thread.id, item.id, context)]
        with suppress(NotFoundError):  # the thread was deleted, or is another turn's: there is nothing to keep it in
            await super().handle_stream_cancelled(thread, unsaved, context)

    async def _begin(self, request: StreamingReq, context: RequestContext, is_gone: IsGone) -> DrivenStream:
        """Hold the thread, then look whether it can be done: what was looked at cannot change any more.

        Who finds it taken is told at once what can never be done, and waits for the rest: a turn that was stopped still
        saves what it said when the user's next message comes.
        """
        lease = self._leases.build()
        context = dataclasses.replace(context, lease=lease.holder, last_known={})
        stream = DrivenStream(self._frames(request, context, lease), at_end=lease.release)
        lease.on_lost = stream.cancel
        thread_id: str | None = getattr(request.params, "thread_id", None)
        try:
            is_free = thread_id is None or await lease.take(thread_id, context)
            await self.check(request, context)
            if thread_id is not None and not is_free:
                is_free = await lease.wait_for(thread_id, context, is_gone=is_gone)
                await self.check(request, context)
            if not is_free:
                raise ThreadBusy(str(thread_id))
        except BaseException:
            await lease.release()
            raise
        stream.start()
        return stream

    def _check_supported(self, request: ChatKitReq) -> None:
        """ChatKitServer fails on these in the middle; say it cleanly until a subclass or a store provides them."""
        method = NEEDED_METHODS.get(type(request))
        if method and getattr(type(self), method) is getattr(ChatKitServer, method):
            raise NotSupported(request.type)
        if isinstance(request, AttachmentsCreateReq | AttachmentsDeleteReq) and self.attachment_store is None:
            raise NotSupported(request.type)

    async def _frames(
        self, request: StreamingReq, context: RequestContext, lease: Lease
    ) -> AsyncGenerator[bytes, None]:
        async def take_back() -> None:
            if isinstance(request, ThreadsCreateReq) and "thread_id" in context.notes:
                await self._sql.delete_empty_thread(str(context.notes["thread_id"]), context)

        events = guarded(
            self._process_streaming_impl(request, context),
            context=context,
            lease=lease,
            brings_message=isinstance(request, ThreadsCreateReq | ThreadsAddUserMessageReq),
            take_back=take_back,
        )
        async with aclosing(events):
            async for event in events:
                yield self._frame(event)

    async def _process_streaming_impl(
        self, request: StreamingReq, context: RequestContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        if isinstance(request, ThreadsRetryAfterItemReq):
            # ChatKit takes back what followed item by item, two statements for each.
            await self._sql.delete_items_after(request.params.thread_id, request.params.item_id, context)
        events = super()._process_streaming_impl(request, context)
        async with aclosing(events):
            async for event in events:
                yield event

    def _process_events(
        self,
        thread: ThreadMetadata,
        context: RequestContext,
        stream: Callable[[], AsyncIterator[ThreadStreamEvent]],
    ) -> AsyncIterator[ThreadStreamEvent]:
        self._sql.begin_turn(thread, context)
        return super()._process_events(thread, context, stream)

    async def _rename(self, params: ThreadUpdateParams, context: RequestContext) -> bytes:
        """The name and nothing else: ChatKit saves the whole thread, and with it what a turn has changed since."""
        if len(params.title) > MAX_TITLE:
            raise InvalidRequest(f"a title of {len(params.title)} characters, at most {MAX_TITLE}")
        thread = await self._sql.change_thread(params.thread_id, {"title": params.title}, context)
        return self._serialize(self._to_thread_response(thread))

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
