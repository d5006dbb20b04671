"""The smallest store that gives nobody anybody else's data: one room per owner, and no door between them."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

from chatkit.store import NotFoundError, Store
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata

from agent_backend.trust import RequestContext

Row = TypeVar("Row")


@dataclass
class Room:
    threads: dict[str, ThreadMetadata] = field(default_factory=dict)
    items: dict[str, dict[str, ThreadItem]] = field(default_factory=lambda: defaultdict(dict))
    attachments: dict[str, Attachment] = field(default_factory=dict)


class MemoryStore(Store[RequestContext]):
    def __init__(self) -> None:
        # Issuer, subject and tenant together: the same subject at two issuers is two people.
        self._rooms: dict[object, Room] = defaultdict(Room)

    def _room(self, context: RequestContext) -> Room:
        return self._rooms[context.owner]

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        return found(self._room(context).threads, thread_id).model_copy(deep=True)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        self._room(context).threads[thread.id] = thread.model_copy(deep=True)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        return page(self._room(context).threads, limit, after, order)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        found(self._room(context).threads, thread_id)
        del self._room(context).threads[thread_id]
        self._room(context).items.pop(thread_id, None)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        found(self._room(context).threads, thread_id)
        return page(self._room(context).items[thread_id], limit, after, order)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        found(self._room(context).threads, thread_id)
        self._room(context).items[thread_id][item.id] = item

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await self.add_thread_item(thread_id, item, context)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        return found(self._room(context).items[thread_id], item_id)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        self._room(context).items[thread_id].pop(item_id, None)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        self._room(context).attachments[attachment.id] = attachment

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        return found(self._room(context).attachments, attachment_id)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        self._room(context).attachments.pop(attachment_id, None)


def found(rows: dict[str, Row], name: str) -> Row:
    if name not in rows:
        raise NotFoundError(f"{name} is not there")
    return rows[name]


def page(rows: dict[str, Row], limit: int, after: str | None, order: str) -> Page[Row]:
    names = list(rows) if order == "asc" else list(rows)[::-1]
    names = names[names.index(after) + 1 :] if after in names else names
    data = [rows[name] for name in names[: min(limit, 100)]]
    has_more = len(names) > len(data)
    return Page(data=data, has_more=has_more, after=names[len(data) - 1] if has_more else None)
