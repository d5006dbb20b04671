"""ChatKit's Store on SQLAlchemy.

Rules: every statement, reading or writing, carries the owner in its own WHERE, so no check above it can be forgotten;
somebody else's anything is `NotFoundError`, exactly like nothing at all. One method is one transaction. Writing the
same id twice is one row. Pages are bounded whatever limit is asked for.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NoReturn

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import Attachment, FeedbackKind, Page, ThreadItem, ThreadMetadata
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Executable,
    Select,
    Table,
    and_,
    delete,
    exists,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agent_backend.context import Owner, RequestContext
from agent_backend.store.ids import is_id, new_id
from agent_backend.store.tables import attachments, feedback, items, threads
from agent_backend.store.times import for_chatkit, to_utc

# Rows of one page. The client was seen asking for 9,999 threads.
MAX_PAGE = 100

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
        return new_id("thread")

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext) -> str:
        return new_id(item_type)

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        query = select(threads.c.data).where(threads.c.id == known(thread_id), owned(threads, context.owner))
        async with self.engine.connect() as connection:
            return THREAD.validate_python(await one(connection, query, thread_id))

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        # `Thread` is a `ThreadMetadata` with items; they have their own table.
        metadata = ThreadMetadata.model_validate(thread.model_dump(exclude={"items"}))
        await self._save_owned(threads, metadata, thread.created_at, context)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        where = owned(threads, context.owner)
        async with self.engine.connect() as connection:
            found, has_more = await page(connection, threads, where, limit=limit, after=after, order=order)
        data = [THREAD.validate_python(row) for row in found]
        return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        await self._write(
            delete(threads).where(threads.c.id == known(thread_id), owned(threads, context.owner)), thread_id
        )

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        where = and_(items.c.thread_id == known(thread_id), in_owned_thread(items, context.owner))
        async with self.engine.connect() as connection:
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
        async with self.engine.connect() as connection:
            return for_chatkit(ITEM.validate_python(await one(connection, query, item_id)))

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        created_at = to_utc(item.created_at)
        values = {"id": known(item.id), "created_at": created_at, "data": dump(item, created_at)}
        # From the owned thread's own row: without it nothing is inserted.
        source = select(threads.c.id, *(literal(value, items.c[name].type) for name, value in values.items())).where(
            threads.c.id == known(thread_id), owned(threads, context.owner)
        )
        insert = self._insert(items).from_select(["thread_id", *values], source, include_defaults=False)
        update = {"data": insert.excluded.data, "created_at": insert.excluded.created_at}
        await self._write(insert.on_conflict_do_update(index_elements=["thread_id", "id"], set_=update), thread_id)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await self.add_thread_item(thread_id, item, context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        """Idempotent: ChatKit also takes back items that were streamed and never saved."""
        await self.load_thread(thread_id, context)
        async with self.engine.begin() as connection:
            await connection.execute(
                delete(items).where(
                    items.c.thread_id == thread_id,
                    items.c.id == known(item_id),
                    in_owned_thread(items, context.owner),
                )
            )

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        await self._save_owned(attachments, attachment, datetime.now(UTC), context)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        query = select(attachments.c.data).where(
            attachments.c.id == known(attachment_id), owned(attachments, context.owner)
        )
        async with self.engine.connect() as connection:
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
        )

    async def _write(self, statement: Executable, name: str, *, rows: int = 1) -> None:
        """Run it in a transaction that is undone when fewer rows were touched than belong to the owner."""
        async with self.engine.begin() as connection:
            result: CursorResult[Any] = await connection.execute(statement)
            if result.rowcount < rows:
                not_found(name)


def owned(table: Table, owner: Owner) -> ColumnElement[bool]:
    """The row is the owner's."""
    return and_(table.c.issuer == owner.issuer, table.c.subject == owner.subject, table.c.tenant == owner.tenant)


def in_owned_thread(table: Table, owner: Owner) -> ColumnElement[bool]:
    """The row's thread is the owner's."""
    return exists(select(1).where(threads.c.id == table.c.thread_id, owned(threads, owner)))


async def page(
    connection: AsyncConnection, table: Table, where: ColumnElement[bool], *, limit: int, after: str | None, order: str
) -> tuple[list[Any], bool]:
    """One page of `data` in the order of insertion, and whether there is more."""
    size = min(max(limit, 1), MAX_PAGE)
    newest_first = order == "desc"
    query = select(table.c.data).where(where).limit(size + 1)
    query = query.order_by(table.c.sequence.desc() if newest_first else table.c.sequence)
    if after is not None:
        cursor = await one(connection, select(table.c.sequence).where(where, table.c.id == known(after)), after)
        query = query.where(table.c.sequence < cursor if newest_first else table.c.sequence > cursor)
    found = list((await connection.execute(query)).scalars())
    return found[:size], len(found) > size


async def one(connection: AsyncConnection, query: Select[Any], name: str) -> Any:
    value = (await connection.execute(query)).scalar_one_or_none()
    return value if value is not None else not_found(name)


def known(name: str) -> str:
    """The id, if it can be one at all."""
    return name if is_id(name) else not_found(name)


def not_found(name: str) -> NoReturn:
    raise NotFoundError(f"{name[:64]!r} is not there for this owner")


def dump(model: BaseModel, created_at: datetime | None) -> dict[str, Any]:
    """The whole object as JSON, its time in UTC."""
    data: dict[str, Any] = model.model_dump(mode="json")
    return {**data, "created_at": created_at.isoformat()} if created_at else data
