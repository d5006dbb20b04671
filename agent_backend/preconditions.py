"""Can this operation be done at all? Asked before a stream is begun.

Rules: after the 200 of a stream nothing can be refused any more, and ChatKitServer looks things up only then; so what
an operation needs is looked for here, first. Missing, or somebody else's: `NotFoundError`. There, but not in a state
that allows it: `Conflict`. Nothing is written.
"""

from collections.abc import Sequence

from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AttachmentsDeleteReq,
    ChatKitReq,
    ClientToolCallItem,
    ItemsFeedbackReq,
    StructuredInputItem,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsCustomActionReq,
    ThreadsRetryAfterItemReq,
    ThreadsSyncCustomActionReq,
    UserMessageItem,
    WidgetItem,
)

from agent_backend.context import RequestContext
from agent_backend.problems import (
    AttachmentElsewhere,
    AttachmentNotUploaded,
    Conflict,
    InvalidRequest,
    ThreadClosed,
    ThreadLocked,
)

# Ids in one request: a message has a handful of attachments, feedback is about one item or two.
MAX_IDS = 100

ChatStore = Store[RequestContext]


async def check_request(store: ChatStore, request: ChatKitReq, context: RequestContext) -> None:
    """Raise when the operation cannot be begun. What is not listed needs nothing, or asks the store first itself."""
    match request:
        case ThreadsCreateReq(params=params):
            await check_attachments(store, params.input.attachments, context)
        case ThreadsAddUserMessageReq(params=params):
            await check_open(store, params.thread_id, context)
            await check_attachments(store, params.input.attachments, context, thread_id=params.thread_id)
        case ThreadsAddClientToolOutputReq(params=params):
            await check_open(store, params.thread_id, context)
            await check_pending_call(store, params.thread_id, context)
        case ThreadsAddStructuredInputReq(params=params):
            await check_open(store, params.thread_id, context)
            await check_pending_input(store, params.thread_id, params.item_id, context)
        case ThreadsRetryAfterItemReq(params=params):
            await check_open(store, params.thread_id, context)
            await check_user_message(store, params.thread_id, params.item_id, context)
        case ThreadsCustomActionReq(params=params) | ThreadsSyncCustomActionReq(params=params):
            await check_open(store, params.thread_id, context)
            await check_sender(store, params.thread_id, params.item_id, context)
        case ItemsFeedbackReq(params=params):
            check_count(params.item_ids)
        case AttachmentsDeleteReq(params=params):
            # ChatKitServer deletes the bytes first, and asks whose they were after.
            await store.load_attachment(params.attachment_id, context)


async def check_open(store: ChatStore, thread_id: str, context: RequestContext) -> None:
    """The thread is there and takes new turns. ChatKitServer keeps the status and enforces it nowhere.

    A 409 with a `message`, and no `notice` in a stream: it is final for ChatKit, nothing has begun that would have to
    be taken back, and the page shows the message. Who has it open sees the thread's status and its reason anyway.
    Renaming, feedback and deletion are not asked for here: a locked thread is still its owner's.
    """
    thread = await store.load_thread(thread_id, context)
    if thread.status.type == "locked":
        raise ThreadLocked(thread_id)
    if thread.status.type == "closed":
        raise ThreadClosed(thread_id)


async def check_attachments(
    store: ChatStore, attachment_ids: Sequence[str], context: RequestContext, *, thread_id: str | None = None
) -> None:
    """Uploaded, and in no other thread: an attachment is deleted with its thread."""
    check_count(attachment_ids)
    for attachment_id in attachment_ids:
        attachment = await store.load_attachment(attachment_id, context)
        if attachment.upload_descriptor is not None:
            raise AttachmentNotUploaded(attachment_id)
        if attachment.thread_id not in (None, thread_id):
            raise AttachmentElsewhere(attachment_id)


async def check_pending_call(store: ChatStore, thread_id: str, context: RequestContext) -> None:
    """The last item waits for a tool's output: ChatKitServer looks at no other."""
    page = await store.load_thread_items(thread_id, None, 1, "desc", context)
    if not any(isinstance(item, ClientToolCallItem) and item.status == "pending" for item in page.data):
        raise Conflict(f"thread {thread_id} waits for no tool")


async def check_pending_input(store: ChatStore, thread_id: str, item_id: str, context: RequestContext) -> None:
    item = await store.load_item(thread_id, item_id, context)
    if not isinstance(item, StructuredInputItem):
        raise NotFoundError(f"{item_id} asks for no input")
    if item.status != "pending":
        raise Conflict(f"{item_id} is {item.status}")


async def check_user_message(store: ChatStore, thread_id: str, item_id: str, context: RequestContext) -> None:
    if not isinstance(await store.load_item(thread_id, item_id, context), UserMessageItem):
        raise NotFoundError(f"{item_id} is no message of the user's")


async def check_sender(store: ChatStore, thread_id: str, item_id: str | None, context: RequestContext) -> None:
    """An action comes from a widget, or from no item at all."""
    if item_id and not isinstance(await store.load_item(thread_id, item_id, context), WidgetItem):
        raise NotFoundError(f"{item_id} is no widget")


def check_count(ids: Sequence[str]) -> None:
    if len(ids) > MAX_IDS:
        raise InvalidRequest(f"{len(ids)} ids, at most {MAX_IDS}")
