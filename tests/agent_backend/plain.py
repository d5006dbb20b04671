"""A plain ChatKitServer: what its documentation shows, with its store in memory, and nothing mended.

What a test says of this is said of openai-chatkit itself, so that an upgrade which mends a fault is noticed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from agents import Agent, Model, RunConfig, Runner
from chatkit.agents import AgentContext, simple_to_agent_input, stream_agent_response
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import AttachmentStore, NotFoundError, Store
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata, ThreadStreamEvent, UserMessageItem

Who = str
Row = TypeVar("Row")


class PlainStore(Store[Who]):
    """Dictionaries. ``delay`` in seconds: a store that does real I/O lets others run meanwhile."""

    def __init__(self, *, delay: float | None = None) -> None:
        self.delay = delay
        self.threads: dict[str, ThreadMetadata] = {}
        self.items: dict[str, dict[str, ThreadItem]] = {}
        self.attachments: dict[str, Attachment] = {}
        self.asked: list[str] = []
        self.limits: list[int] = []

    async def _note(self, method: str) -> None:
        self.asked.append(method)
        if self.delay is not None:
            await asyncio.sleep(self.delay)

    async def load_thread(self, thread_id: str, context: Who) -> ThreadMetadata:
        await self._note("load_thread")
        return found(self.threads, thread_id)

    async def save_thread(self, thread: ThreadMetadata, context: Who) -> None:
        await self._note("save_thread")
        self.threads[thread.id] = thread.model_copy(deep=True)
        self.items.setdefault(thread.id, {})

    async def load_threads(self, limit: int, after: str | None, order: str, context: Who) -> Page[ThreadMetadata]:
        self.limits.append(limit)
        return Page(data=list(self.threads.values()))

    async def delete_thread(self, thread_id: str, context: Who) -> None:
        await self._note("delete_thread")
        self.threads.pop(thread_id, None)
        self.items.pop(thread_id, None)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: Who
    ) -> Page[ThreadItem]:
        await self._note("load_thread_items")
        self.limits.append(limit)
        rows = list(self.items.get(thread_id, {}).values())
        return Page(data=(rows if order == "asc" else rows[::-1])[:limit])

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: Who) -> None:
        await self._note("add_thread_item")
        self.items[thread_id][item.id] = item

    async def save_item(self, thread_id: str, item: ThreadItem, context: Who) -> None:
        self.items[thread_id][item.id] = item

    async def load_item(self, thread_id: str, item_id: str, context: Who) -> ThreadItem:
        return found(self.items.get(thread_id, {}), item_id)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Who) -> None:
        self.items[thread_id].pop(item_id, None)

    async def save_attachment(self, attachment: Attachment, context: Who) -> None:
        self.attachments[attachment.id] = attachment

    async def load_attachment(self, attachment_id: str, context: Who) -> Attachment:
        return found(self.attachments, attachment_id)

    async def delete_attachment(self, attachment_id: str, context: Who) -> None:
        await self._note("delete_attachment")
        found(self.attachments, attachment_id)


class PlainBytes(AttachmentStore[Who]):
    """Where the bytes of attachments are; says which were deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    async def delete_attachment(self, attachment_id: str, context: Who) -> None:
        self.deleted.append(attachment_id)


class PlainServer(ChatKitServer[Who]):
    """`respond` as the documentation has it."""

    def __init__(self, store: PlainStore, *, model: Model, attachments: PlainBytes | None = None) -> None:
        super().__init__(store, attachments)
        self.plain = store
        self._agent = Agent[Any](name="Plain", model=model)
        self.cancelled = 0

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Who
    ) -> AsyncIterator[ThreadStreamEvent]:
        page = await self.store.load_thread_items(thread.id, None, 20, "asc", context)
        model_input = await simple_to_agent_input(page.data)
        run = AgentContext[Who](thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(self._agent, model_input, context=run, run_config=RunConfig(tracing_disabled=True))
        async for event in stream_agent_response(run, result):
            yield event

    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: Who
    ) -> None:
        self.cancelled += 1
        await super().handle_stream_cancelled(thread, pending_items, context)

    async def ask(self, operation: str, *, who: Who = "alice", **params: Any) -> Any:
        """The events of a stream, or the JSON of an answer."""
        result = await self.process(json.dumps({"type": operation, "params": params}), who)
        if isinstance(result, StreamingResult):
            return [json.loads(frame.removeprefix(b"data: ")) async for frame in result]
        return json.loads(result.json)


def found(rows: Mapping[str, Row], name: str) -> Row:
    if name not in rows:
        raise NotFoundError(f"{name} not found")
    return rows[name]
