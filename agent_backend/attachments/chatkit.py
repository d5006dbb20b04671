"""The two places where ChatKit asks for attachments.

`AttachmentDesk` is its AttachmentStore: announce one, delete one. `LinkedStore` is the store with attachments in it:
what comes out has fresh links, what goes in has none. A stored link would be dead when a conversation is opened again
the next day; so every item and attachment that leaves the store is signed then.
"""

from typing import Any

from chatkit.store import AttachmentStore
from chatkit.types import Attachment, AttachmentCreateParams, Page, ThreadItem, UserMessageItem

from agent_backend.attachments.library import AttachmentLibrary
from agent_backend.context import Owner, RequestContext
from agent_backend.store import SqlStore


class AttachmentDesk(AttachmentStore[RequestContext]):
    """What ChatKitServer asks about bytes."""

    def __init__(self, library: AttachmentLibrary) -> None:
        self._library = library

    async def create_attachment(self, input: AttachmentCreateParams, context: RequestContext) -> Attachment:  # noqa: A002
        announced = await self._library.announce(
            name=input.name, size=input.size, media_type=input.mime_type, owner=context.owner
        )
        return self._library.with_links(announced, context.owner)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Whose is it? ChatKitServer deletes bytes first and asks the store then; so the store deletes both."""
        await self._library.find(attachment_id, context.owner)


class LinkedStore(SqlStore):
    """The store, where attachments have links, bytes, and an end with their thread."""

    def __init__(self, *, library: AttachmentLibrary, **options: Any) -> None:
        super().__init__(**options)
        self._library = library

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        record = await self._library.find(attachment_id, context.owner)
        return self._library.with_links(record.attachment, context.owner)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        """ChatKitServer saves again what was just created, and what was just sent; it creates none this way."""
        await self._library.save(attachment, context.owner)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        await self._library.delete(attachment_id, context.owner)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        """Its attachments go with it. They stay for the sweeper if we are stopped in between."""
        doomed = await self._library.ids_in_thread(thread_id, context.owner)
        await super().delete_thread(thread_id, context)
        await self._library.delete_many(doomed, context.owner)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        return self._with_links(await super().load_item(thread_id, item_id, context), context.owner)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        page = await super().load_thread_items(thread_id, after, limit, order, context)
        return page.model_copy(update={"data": [self._with_links(item, context.owner) for item in page.data]})

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await super().add_thread_item(thread_id, self._without_links(item), context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await super().save_item(thread_id, self._without_links(item), context)

    def _with_links(self, item: ThreadItem, owner: Owner) -> ThreadItem:
        if not isinstance(item, UserMessageItem) or not item.attachments:
            return item
        signed = [self._library.with_links(attachment, owner) for attachment in item.attachments]
        return item.model_copy(update={"attachments": signed})

    def _without_links(self, item: ThreadItem) -> ThreadItem:
        if not isinstance(item, UserMessageItem) or not item.attachments:
            return item
        plain = [self._library.without_links(attachment) for attachment in item.attachments]
        return item.model_copy(update={"attachments": plain})
