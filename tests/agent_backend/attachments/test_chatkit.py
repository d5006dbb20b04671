"""The two places where ChatKit asks for attachments."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import (
    Attachment,
    AttachmentCreateParams,
    ImageAttachment,
    InferenceOptions,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)
from sqlalchemy import text

from agent_backend.attachments.chatkit import AttachmentDesk, LinkedStore
from agent_backend.store.ids import new_id
from tests.agent_backend.attachments.world import STRANGERS, Shelf, picture, sqlite_shelf
from tests.agent_backend.world import context_for

ALICE = context_for("alice")


def store_of(shelf: Shelf) -> LinkedStore:
    return LinkedStore(engine=shelf.engine, library=shelf.library)


async def saved_thread(store: LinkedStore) -> ThreadMetadata:
    made = ThreadMetadata(id=new_id("thread"), created_at=datetime.now(UTC))
    await store.save_thread(made, ALICE)
    return made


async def sent(store: LinkedStore, thread: ThreadMetadata, *attachments: Attachment) -> UserMessageItem:
    """A message, stored as ChatKitServer stores one."""
    loaded = [await store.load_attachment(attachment.id, ALICE) for attachment in attachments]
    item = UserMessageItem(
        id=new_id("message"),
        thread_id=thread.id,
        created_at=datetime.now(UTC),
        content=[UserMessageTextContent(text="see")],
        attachments=[attachment.model_copy(update={"thread_id": thread.id}) for attachment in loaded],
        inference_options=InferenceOptions(),
    )
    for attachment in item.attachments:
        await store.save_attachment(attachment, ALICE)
    await store.add_thread_item(thread.id, item, ALICE)
    return item


async def database_text(shelf: Shelf) -> str:
    """All that is stored of items and attachments."""
    async with shelf.engine.connect() as connection:
        rows = [*await connection.execute(text("SELECT data FROM items UNION ALL SELECT data FROM attachments"))]
    return "\n".join(str(row[0]) for row in rows)


def preview_of(item: Any) -> str:
    return str(item.attachments[0].preview_url)


async def test_an_old_conversation_has_fresh_links(tmp_path: Path) -> None:
    """Every item that leaves the store is signed then; no permission is ever stored."""
    async with sqlite_shelf(tmp_path) as shelf:
        store = store_of(shelf)
        thread = await saved_thread(store)
        image = await shelf.stored(picture(), name="a.png", media_type="image/png")
        item = await sent(store, thread, image)

        page = await store.load_thread_items(thread.id, None, 10, "desc", ALICE)
        loaded = [page.data[0], await store.load_item(thread.id, item.id, ALICE)]

        for entry in loaded:
            shelf.links.check("GET", image.id, "preview", preview_of(entry).partition("?")[2], ALICE.owner)
        await store.save_item(thread.id, loaded[1], ALICE)
        assert image.id in await database_text(shelf)
        assert "signature" not in await database_text(shelf)


async def test_attachments_go_with_their_thread(tmp_path: Path) -> None:
    """Bytes and rows of this thread, of no other; a stranger's attempt changes nothing."""
    async with sqlite_shelf(tmp_path) as shelf:
        store = store_of(shelf)
        thread, other = await saved_thread(store), await saved_thread(store)
        gone = await shelf.stored(picture(), media_type="image/png")
        kept, unsent = await shelf.stored(b"kept"), await shelf.stored(b"unsent")
        await sent(store, thread, gone)
        await sent(store, other, kept)
        for stranger in STRANGERS:
            context = context_for(stranger.subject, issuer=stranger.issuer, tenant=stranger.tenant)
            with pytest.raises(NotFoundError):
                await store.delete_thread(thread.id, context)
        assert len(await shelf.rows()) == 3

        await store.delete_thread(thread.id, ALICE)

        assert set(await shelf.rows()) == {kept.id, unsent.id}
        assert shelf.files() == sorted([kept.id, unsent.id])


async def test_an_empty_thread_that_is_taken_back_leaves_the_attachments(tmp_path: Path) -> None:
    """The message that never was may be sent again, with what was uploaded for it."""
    async with sqlite_shelf(tmp_path) as shelf:
        store = store_of(shelf)
        thread = await saved_thread(store)
        kept = await shelf.stored(b"kept")
        await store.save_attachment(kept.model_copy(update={"thread_id": thread.id}), ALICE)

        await store.delete_empty_thread(thread.id, ALICE)

        loaded = await store.load_attachment(kept.id, ALICE)
        assert loaded.thread_id is None
        assert shelf.files() == [kept.id]


async def test_announcing_gives_links(tmp_path: Path) -> None:
    """Where to upload, and where the preview will be."""
    async with sqlite_shelf(tmp_path) as shelf:
        params = AttachmentCreateParams(name="a.png", size=10, mime_type="image/png")

        made = await AttachmentDesk(shelf.library).create_attachment(params, ALICE)

        assert isinstance(made, ImageAttachment)
        assert made.upload_descriptor
        assert made.upload_descriptor.method == "PUT"
        query = str(made.upload_descriptor.url).partition("?")[2]
        shelf.links.check("PUT", made.id, "content", query, ALICE.owner)
        await store_of(shelf).save_attachment(made, ALICE)
        assert "signature" not in await database_text(shelf)


async def test_deleting_asks_whose_it_is_first(tmp_path: Path) -> None:
    """ChatKitServer asks for the bytes' deletion first and for the row's then: a stranger's stops at the first."""
    async with sqlite_shelf(tmp_path) as shelf:
        stored = await shelf.stored(b"words")
        desk, store = AttachmentDesk(shelf.library), store_of(shelf)
        for stranger in STRANGERS:
            context = context_for(stranger.subject, issuer=stranger.issuer, tenant=stranger.tenant)
            with pytest.raises(NotFoundError):
                await desk.delete_attachment(stored.id, context)
            with pytest.raises(NotFoundError):
                await store.delete_attachment(stored.id, context)
        assert shelf.files() == [stored.id]

        await desk.delete_attachment(stored.id, ALICE)
        await store.delete_attachment(stored.id, ALICE)

        assert (await shelf.rows(), shelf.files()) == ({}, [])
