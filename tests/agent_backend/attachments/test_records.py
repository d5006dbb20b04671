"""The rows of attachments, on SQLite and on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import Attachment, FileAttachment, ThreadMetadata
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.attachments.records import AttachmentRecords
from agent_backend.attachments.refusals import QuotaExceeded, TooManyPending
from agent_backend.context import Owner
from agent_backend.store import SqlStore
from agent_backend.store.ids import new_id
from agent_backend.store.schema import migrate
from tests.agent_backend.attachments.world import ALICE, STRANGERS
from tests.agent_backend.world import context_for

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
async def records(engine: AsyncEngine) -> AttachmentRecords:
    await migrate(engine)
    return AttachmentRecords(engine=engine)


def attachment(**changes: Any) -> Attachment:
    return FileAttachment(**{"id": new_id("attachment"), "name": "a.txt", "mime_type": "text/plain", **changes})


async def reserved(
    records: AttachmentRecords, *, size: int = 10, owner: Owner = ALICE, quota: int = 1000, max_pending: int = 1000
) -> Attachment:
    made = attachment()
    await records.reserve(made, size=size, owner=owner, quota=quota, max_pending=max_pending)
    return made


async def stored(records: AttachmentRecords, **options: Any) -> Attachment:
    made = await reserved(records, **options)
    async with records.storing(made, size=7, owner=ALICE):
        pass
    return made


async def test_from_announced_to_stored(records: AttachmentRecords) -> None:
    """The announced size first, the true one then."""
    made = await reserved(records, size=10)
    before = await records.find(made.id, ALICE)

    async with records.storing(made, size=7, owner=ALICE):
        pass

    after = await records.find(made.id, ALICE)
    assert [(record.attachment, record.size, record.is_stored) for record in (before, after)] == [
        (made, 10, False),
        (made, 7, True),
    ]


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_nobody_else_finds_or_changes_it(records: AttachmentRecords, stranger: Owner) -> None:
    """Another subject, issuer or tenant: not there, on every statement, and nothing has changed."""
    pending, made = await reserved(records), await stored(records)

    for work in (
        records.find(made.id, stranger),
        records.save(made, stranger),
        records.doom(made.id, stranger),
        records.storing(pending, size=1, owner=stranger).__aenter__(),
    ):
        with pytest.raises(NotFoundError):
            await work
    assert await records.find_many([made.id, pending.id], stranger) == {}
    assert await records.doom_all(stranger) == []
    assert set(await records.find_many([made.id, pending.id], ALICE)) == {made.id, pending.id}


@pytest.mark.parametrize("name", ["", "x" * 200, "a\x00b", "ü"])
async def test_what_can_be_no_id_is_not_found(records: AttachmentRecords, name: str) -> None:
    """And does not trouble the database."""
    with pytest.raises(NotFoundError):
        await records.find(name, ALICE)
    with pytest.raises(NotFoundError):
        await records.doom(name, ALICE)


async def test_one_user_has_so_much_room(records: AttachmentRecords) -> None:
    """Announced and stored bytes count alike; another user's do not; what is deleted for good does not either."""
    first = await reserved(records, size=60, quota=100)
    with pytest.raises(QuotaExceeded):
        await reserved(records, size=41, quota=100)
    await reserved(records, size=40, quota=100)
    await reserved(records, size=100, quota=100, owner=STRANGERS[0])

    await records.doom(first.id, ALICE)
    await records.forget(first.id)

    await reserved(records, size=60, quota=100)


async def test_one_user_may_announce_so_many(records: AttachmentRecords) -> None:
    """What is uploaded makes room for more."""
    await reserved(records, max_pending=2)
    second = await reserved(records, max_pending=2)
    with pytest.raises(TooManyPending):
        await reserved(records, max_pending=2)

    async with records.storing(second, size=1, owner=ALICE):
        pass

    await reserved(records, max_pending=2)


async def test_many_at_once_get_no_more(records: AttachmentRecords) -> None:
    """Ten requests at the same moment share the room that three have."""
    outcomes = await asyncio.gather(*(reserved(records, size=30, quota=100) for _ in range(10)), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["FileAttachment"] * 3 + ["QuotaExceeded"] * 7


async def test_of_two_uploads_at_once_one_is_kept(records: AttachmentRecords) -> None:
    """The row is locked while the bytes are put in place: nobody else puts theirs there."""
    made = await reserved(records)
    kept: list[str] = []

    async def upload(name: str) -> None:
        async with records.storing(made, size=1, owner=ALICE):
            kept.append(name)
            await asyncio.sleep(0.05)

    outcomes = await asyncio.gather(upload("first"), upload("second"), return_exceptions=True)

    assert len(kept) == 1
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "NotFoundError"]


async def test_bytes_that_could_not_be_put_in_place_are_not_there(records: AttachmentRecords) -> None:
    """The row is as it was: the upload can be tried again."""
    made = await reserved(records)

    with pytest.raises(RuntimeError):
        async with records.storing(made, size=1, owner=ALICE):
            raise RuntimeError

    assert not (await records.find(made.id, ALICE)).is_stored


async def test_what_is_overdue_is_found_and_nothing_else(records: AttachmentRecords, engine: AsyncEngine) -> None:
    """Never uploaded, never sent, half deleted; not what is young, nor what was sent."""
    thread = ThreadMetadata(id=new_id("thread"), created_at=datetime.now(UTC))
    await SqlStore(engine=engine).save_thread(thread, context_for("alice"))
    pending, unsent, doomed = await reserved(records), await stored(records), await stored(records)
    sent = await stored(records)
    await records.save(sent.model_copy(update={"thread_id": thread.id}), ALICE)
    await records.doom(doomed.id, ALICE)
    soon = datetime.now(UTC) + timedelta(minutes=1)

    assert await records.doom_overdue(pending_before=LONG_AGO, unsent_before=LONG_AGO) == [doomed.id]
    found = await records.doom_overdue(pending_before=soon, unsent_before=soon)

    assert set(found) == {pending.id, unsent.id, doomed.id}
    assert await records.ids_in_thread(thread.id, ALICE) == [sent.id]
    for stranger in STRANGERS:
        assert await records.ids_in_thread(thread.id, stranger) == []


async def test_an_attachment_outlives_its_thread_until_it_is_swept(
    records: AttachmentRecords, engine: AsyncEngine
) -> None:
    """However a thread goes, the row stays until the bytes are gone: it counts as never sent."""
    store = SqlStore(engine=engine)
    thread = ThreadMetadata(id=new_id("thread"), created_at=datetime.now(UTC))
    await store.save_thread(thread, context_for("alice"))
    made = await stored(records)
    await records.save(made.model_copy(update={"thread_id": thread.id}), ALICE)

    await store.delete_thread(thread.id, context_for("alice"))

    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert await records.doom_overdue(pending_before=LONG_AGO, unsent_before=soon) == [made.id]


async def test_deleted_is_gone_for_everybody(records: AttachmentRecords) -> None:
    """Though the row waits for its bytes; a second deletion finds nothing; `forget` takes deleted rows only."""
    made = await stored(records)
    await records.forget(made.id)
    await records.doom(made.id, ALICE)

    for work in (records.find(made.id, ALICE), records.doom(made.id, ALICE), records.save(made, ALICE)):
        with pytest.raises(NotFoundError):
            await work
