"""ChatKit's Store on SQLAlchemy.

Rules: every statement, reading or writing, carries the owner in its own WHERE, so no check above it can be forgotten;
somebody else's anything is `NotFoundError`, exactly like nothing at all. One method is one transaction, and one that
writes is finished once it has begun, even for a caller who is cancelled. What a turn writes is refused when the turn no
longer holds its thread. A database that cannot be used is `DatabaseUnavailable`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from chatkit.store import Store, StoreItemType
from chatkit.types import Attachment, FeedbackKind, Page, ThreadItem, ThreadMetadata
from pydantic import TypeAdapter
from sqlalchemy import CursorResult, Executable, Table, and_, delete, exists, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agent_backend.context import Owner, RequestContext
from agent_backend.problems import Conflict
from agent_backend.store.database import reading, writing
from agent_backend.store.ids import new_id
from agent_backend.store.queries import dump, fenced, in_owned_thread, known, not_found, one, owned, page
from agent_backend.store.swaps import lock
from agent_backend.store.tables import attachments, feedback, items, threads
from agent_backend.store.times import for_chatkit, to_utc
from agent_backend.tasks import to_the_end

THREAD = TypeAdapter[ThreadMetadata](ThreadMetadata)
ITEM = TypeAdapter[ThreadItem](ThreadItem)
ATTACHMENT = TypeAdapter[Attachment](Attachment)


class SqlStore(Store[RequestContext]):
    """Threads and what is in them, each seen by its owner only."""

    def __init__(self, *, engine: AsyncEngine) -> None:
        self.engine = engine
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def __repr__(self) -> str:
        return f"<SqlStore {self.engine.url!r}>"

    def generate_thread_id(self, context: RequestContext) -> str:
        name = new_id("thread")
        context.notes["thread_id"] = name  # known from now on, even if nobody gets to hear of it
        return name

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        return new_id(item_type)

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        query = select(threads.c.data).where(threads.c.id == known(thread_id), owned(threads, context.owner))
        async with reading(self.engine) as connection:
            return THREAD.validate_python(await one(connection, query, thread_id))

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """Keep it. Within a turn, of its own thread, only what the turn changed: see `begin_turn`.

        The whole thread, with the name it had when the turn began, would undo what its owner called it meanwhile; and
        bring it back when they deleted it. What others changed is put into ``thread``: the page is told it, too.
        """
        before = context.last_known.get(thread.id)
        if before is None:
            await self._save_owned(threads, without_items(thread), thread.created_at, context)
            return
        now = dump_thread(thread)
        changes = {name: value for name, value in now.items() if value != before[name]}
        stored = await self.change_thread(thread.id, changes, context)
        for name in now.keys() - changes.keys() - {"id", "created_at"}:
            setattr(thread, name, getattr(stored, name))
        self.begin_turn(stored, context)

    def begin_turn(self, thread: ThreadMetadata, context: RequestContext) -> None:
        """From now on this turn changes its thread; this is how it looked."""
        context.last_known[thread.id] = dump_thread(thread)

    async def change_thread(
        self, thread_id: str, changes: Mapping[str, Any], context: RequestContext
    ) -> ThreadMetadata:
        """Change these members of a thread that is there, and no others; the thread as it is then."""

        async def change() -> ThreadMetadata:
            mine = and_(threads.c.id == known(thread_id), owned(threads, context.owner), fenced(thread_id, context))
            async with writing(self.engine) as connection:
                data = await lock(connection, threads, mine) or not_found(thread_id)
                stored = THREAD.validate_python({**data, **changes})
                if changes:
                    await connection.execute(update(threads).where(mine).values(data=dump_thread(stored)))
                return stored

        return await to_the_end(change())

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        where = owned(threads, context.owner)
        async with reading(self.engine) as connection:
            found, has_more = await page(connection, threads, where, limit=limit, after=after, order=order)
        data = [THREAD.validate_python(row) for row in found]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        await self._write(
            delete(threads).where(threads.c.id == known(thread_id), owned(threads, context.owner)), thread_id
        )

    async def delete_empty_thread(self, thread_id: str, context: RequestContext) -> None:
        """Take back a thread that nothing was ever said in; any other stays."""
        in_it = exists(select(literal(1)).where(items.c.thread_id == threads.c.id))
        mine = and_(threads.c.id == known(thread_id), owned(threads, context.owner))
        await self._write(delete(threads).where(mine, ~in_it), thread_id, rows=0)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        where = and_(items.c.thread_id == known(thread_id), in_owned_thread(items, context.owner))
        async with reading(self.engine) as connection:
            # A thread without items and no thread at all are two things.
            query = select(threads.c.id).where(threads.c.id == thread_id, owned(threads, context.owner))
            await one(connection, query, thread_id)
            found, has_more = await page(connection, items, where, limit=limit, after=after, order=order)
        data = [for_chatkit(ITEM.validate_python(row)) for row in found]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        query = select(items.c.data).where(
            items.c.thread_id == known(thread_id), items.c.id == known(item_id), in_owned_thread(items, context.owner)
        )
        async with reading(self.engine) as connection:
            return for_chatkit(ITEM.validate_python(await one(connection, query, item_id)))

    async def has_item(self, thread_id: str, item_id: str, context: RequestContext) -> bool:
        query = select(items.c.id).where(
            items.c.thread_id == thread_id, items.c.id == item_id, in_owned_thread(items, context.owner)
        )
        async with reading(self.engine) as connection:
            return (await connection.execute(query)).first() is not None

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep a new item. The same one again changes nothing; another one under its id is a `Conflict`.

        Ids are names within their thread: one that somebody else's thread also has is no conflict, or it would say
        that it is there.
        """
        await to_the_end(self._add_item(thread_id, item, context))

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        """Keep an item, in its place if it was there before. What this turn has just saved is not saved again."""
        just_saved = context.last_known.pop(item.id, None)
        if just_saved is not None and just_saved == dump(item, to_utc(item.created_at)):
            return
        insert = self._insert_item(thread_id, item, context)
        update = {"data": insert.excluded.data, "created_at": insert.excluded.created_at}
        await self._write(insert.on_conflict_do_update(index_elements=["thread_id", "id"], set_=update), thread_id)

    def note_saved(self, item: ThreadItem, context: RequestContext) -> None:
        """It is stored: ChatKit saves whatever a turn replaces, and would undo what others have changed since."""
        if context.lease is not None:
            context.last_known[item.id] = dump(item, to_utc(item.created_at))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Idempotent: ChatKit also takes back items that were streamed and never saved."""
        await self.load_thread(thread_id, context)
        await self._write(
            delete(items).where(
                items.c.thread_id == thread_id,
                items.c.id == known(item_id),
                in_owned_thread(items, context.owner),
                fenced(thread_id, context),
            ),
            item_id,
            rows=0,
        )

    async def delete_items_after(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Take back all that was said after this item: one statement, however much it is."""
        place = select(items.c.sequence).where(items.c.thread_id == known(thread_id), items.c.id == known(item_id))
        await self._write(
            delete(items).where(
                items.c.thread_id == thread_id,
                items.c.sequence > place.scalar_subquery(),
                in_owned_thread(items, context.owner),
                fenced(thread_id, context),
            ),
            item_id,
            rows=0,
        )

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        await self._save_owned(attachments, attachment, datetime.now(UTC), context)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        query = select(attachments.c.data).where(
            attachments.c.id == known(attachment_id), owned(attachments, context.owner)
        )
        async with reading(self.engine) as connection:
            return ATTACHMENT.validate_python(await one(connection, query, attachment_id))

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        await self._write(
            delete(attachments).where(attachments.c.id == known(attachment_id), owned(attachments, context.owner)),
            attachment_id,
        )

    async def save_feedback(
        self, thread_id: str, item_ids: Collection[str], kind: FeedbackKind, context: RequestContext
    ) -> None:
        """What the user thinks of these items; a second opinion replaces the first. All of them, or none."""
        wanted = {known(item_id) for item_id in item_ids}
        moment = literal(datetime.now(UTC), feedback.c.created_at.type)
        source = select(items.c.thread_id, items.c.id, literal(kind, feedback.c.kind.type), moment).where(
            items.c.thread_id == known(thread_id), items.c.id.in_(wanted), in_owned_thread(items, context.owner)
        )
        names = ["thread_id", "item_id", "kind", "created_at"]
        insert = self._insert(feedback).from_select(names, source, include_defaults=False)
        update = {"kind": insert.excluded.kind, "created_at": insert.excluded.created_at}
        upsert = insert.on_conflict_do_update(index_elements=["thread_id", "item_id"], set_=update)
        await self._write(upsert, thread_id, rows=max(len(wanted), 1))

    async def _add_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        insert = self._insert_item(thread_id, item, context)
        stored = select(items.c.data).where(
            items.c.thread_id == thread_id,
            items.c.id == item.id,
            in_owned_thread(items, context.owner),
            fenced(thread_id, context),
        )
        async with writing(self.engine) as connection:
            added: CursorResult[Any] = await connection.execute(
                insert.on_conflict_do_nothing(index_elements=["thread_id", "id"])
            )
            if added.rowcount == 0 and await one(connection, stored, thread_id) != dump(item, to_utc(item.created_at)):
                raise Conflict(f"item {item.id!r} is there with other content")

    def _insert_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> Any:
        if item.thread_id != thread_id:
            raise ValueError(f"item {item.id!r} says thread {item.thread_id!r}, and was given for {thread_id!r}")
        created_at = to_utc(item.created_at)
        values = {"id": known(item.id), "created_at": created_at, "data": dump(item, created_at)}
        # From the owned thread's own row: without it nothing is inserted. Locked, so that items of one thread become
        # visible in the order of their sequence: a reader who pages through them misses none.
        source = (
            select(threads.c.id, *(literal(value, items.c[name].type) for name, value in values.items()))
            .where(threads.c.id == known(thread_id), owned(threads, context.owner), fenced(thread_id, context))
            .with_for_update(key_share=True)
        )
        return self._insert(items).from_select(["thread_id", *values], source, include_defaults=False)

    async def _save_owned(
        self, table: Table, model: ThreadMetadata | Attachment, created_at: datetime, context: RequestContext
    ) -> None:
        """Insert or update a row that names its owner; the update finds only the owner's own."""
        owner, moment = context.owner, to_utc(created_at)
        insert = self._insert(table).values(
            id=known(model.id),
            issuer=owner.issuer,
            subject=owner.subject,
            tenant=owner.tenant,
            created_at=moment,
            data=dump(model, moment if isinstance(model, ThreadMetadata) else None),
        )
        await self._write(
            insert.on_conflict_do_update(
                index_elements=["id"], set_={"data": insert.excluded.data}, where=owned(table, owner)
            ),
            model.id,
            in_order_of=owner,
        )

    async def _write(
        self, statement: Executable, name: str, *, rows: int = 1, in_order_of: Owner | None = None
    ) -> None:
        """Run it in a transaction that is undone when fewer rows were touched than belong to the owner."""

        async def write() -> None:
            async with writing(self.engine) as connection:
                if in_order_of is not None:
                    await self._queue_up(connection, in_order_of)
                result: CursorResult[Any] = await connection.execute(statement)
                if result.rowcount < rows:
                    not_found(name)

        await to_the_end(write())

    async def _queue_up(self, connection: AsyncConnection, owner: Owner) -> None:
        """One owner's rows become visible in the order of their sequence, as items of one thread do."""
        if self.engine.dialect.name == "postgresql":
            name = "\n".join((owner.issuer, owner.subject, owner.tenant))
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def without_items(thread: ThreadMetadata) -> ThreadMetadata:
    """`Thread` is a `ThreadMetadata` with items; they have their own table."""
    return ThreadMetadata.model_validate(thread.model_dump(exclude={"items"}))


def dump_thread(thread: ThreadMetadata) -> dict[str, Any]:
    return dump(without_items(thread), to_utc(thread.created_at))
