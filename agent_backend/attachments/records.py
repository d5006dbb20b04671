"""The rows of attachments.

Rules: every statement that a user's request leads to carries the owner in its own WHERE; somebody else's is
`NotFoundError`, exactly like nothing at all. A row is pending, stored or deleted, and goes only forward. What is
deleted is found by nobody but the sweeper. A write that has begun is finished. Knows nothing of bytes.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chatkit.types import Attachment
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Insert,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agent_backend.attachments.refusals import QuotaExceeded, TooManyPending
from agent_backend.context import Owner
from agent_backend.store.database import reading, writing
from agent_backend.store.ids import is_id
from agent_backend.store.queries import dump, known, not_found, owned
from agent_backend.store.sql import ATTACHMENT
from agent_backend.store.tables import attachments
from agent_backend.tasks import to_the_end

PENDING, STORED, DELETED = "pending", "stored", "deleted"
# Rows of one sweep; the next one takes the rest.
MAX_SWEEP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One attachment. ``size`` in bytes: announced while pending, then true."""

    attachment: Attachment
    size: int
    is_stored: bool


class AttachmentRecords:
    """Reads and writes them."""

    def __init__(self, *, engine: AsyncEngine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<AttachmentRecords {self._engine.url!r}>"

    async def reserve(self, attachment: Attachment, *, size: int, owner: Owner, quota: int, max_pending: int) -> None:
        """A pending row, if the owner has room for it. Raises `QuotaExceeded`, `TooManyPending`.

        Question and insert are one statement, and one user's are one after the other: SQLite has one writer, and
        PostgreSQL is asked for a lock.
        """
        room = and_(
            total(func.coalesce(func.sum(attachments.c.size), 0), owner) + size <= quota,
            total(func.count(), owner, attachments.c.state == PENDING) < max_pending,
        )
        values = row_of(attachment, owner) | {"size": size, "state": PENDING}
        source = select(*(literal(value, attachments.c[name].type) for name, value in values.items())).where(room)
        is_added, pending = await to_the_end(
            self._reserve(insert(attachments).from_select(list(values), source), owner)
        )
        if is_added:
            return
        if pending >= max_pending:
            raise TooManyPending(f"{pending} pending, at most {max_pending}")
        raise QuotaExceeded(f"{size} more bytes, at most {quota} in all")

    async def _reserve(self, statement: Insert, owner: Owner) -> tuple[bool, int]:
        """Was there room; and how many are pending."""
        async with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                key = "\n".join(("attachments", owner.issuer, owner.subject, owner.tenant))
                await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
            added: CursorResult[Any] = await connection.execute(statement)
            pending = await connection.scalar(select(total(func.count(), owner, attachments.c.state == PENDING)))
            return bool(added.rowcount), pending or 0

    async def find(self, attachment_id: str, owner: Owner) -> Record:
        found = await self.find_many([attachment_id], owner)
        if attachment_id not in found:
            not_found(attachment_id)
        return found[attachment_id]

    async def find_many(self, attachment_ids: Collection[str], owner: Owner) -> Mapping[str, Record]:
        """Those of them that are there and the owner's, by id."""
        wanted = {name for name in attachment_ids if is_id(name)}
        columns = (attachments.c[name] for name in ("id", "data", "size", "state", "thread_id"))
        query = select(*columns).where(attachments.c.id.in_(wanted), visible(owner))
        async with reading(self._engine) as connection:
            rows = await fetch(connection, query)
        return {row.id: record_of(row) for row in rows}

    async def save(self, attachment: Attachment, owner: Owner) -> None:
        """What ChatKit says of it now; above all, in which thread it is."""
        await self._change(attachment.id, owner, data=dump(attachment, None), thread_id=attachment.thread_id)

    @asynccontextmanager
    async def storing(self, attachment: Attachment, *, size: int, owner: Owner) -> AsyncIterator[None]:
        """From pending to stored, once the block has put the bytes in place. Raises NotFoundError for anything else.

        The row is changed first, and so locked: of two uploads at once only one comes to its block, and a deletion
        waits for its end.
        """
        async with writing(self._engine) as connection:
            values = {"data": dump(attachment, None), "size": size, "state": STORED}
            await change(connection, attachment.id, owner, attachments.c.state == PENDING, **values)
            yield

    async def doom(self, attachment_id: str, owner: Owner) -> None:
        """It is deleted for everybody but us: its bytes are next. Raises NotFoundError."""
        await self._change(attachment_id, owner, state=DELETED)

    async def doom_pending(self, attachment_id: str, owner: Owner) -> None:
        """The same, unless it is stored by now. Raises NotFoundError."""
        await self._change(attachment_id, owner, attachments.c.state == PENDING, state=DELETED)

    async def doom_all(self, owner: Owner) -> Collection[str]:
        return await self._doom(owned(attachments, owner))

    async def ids_in_thread(self, thread_id: str, owner: Owner) -> Collection[str]:
        query = select(attachments.c.id).where(attachments.c.thread_id == thread_id, visible(owner))
        async with reading(self._engine) as connection:
            return [row.id for row in await fetch(connection, query)]

    async def doom_overdue(self, *, pending_before: datetime, unsent_before: datetime) -> Collection[str]:
        """Announced and not uploaded, uploaded and not sent, deleted and not gone: all that ought to go."""
        unsent = and_(attachments.c.state == STORED, attachments.c.thread_id.is_(None))
        return await self._doom(
            or_(
                and_(attachments.c.state == PENDING, attachments.c.created_at < pending_before),
                and_(unsent, attachments.c.created_at < unsent_before),
                attachments.c.state == DELETED,
            )
        )

    async def forget(self, attachment_id: str) -> None:
        """The bytes are gone; the row may go."""
        gone = and_(attachments.c.id == attachment_id, attachments.c.state == DELETED)
        await to_the_end(self._run(delete(attachments).where(gone)))

    async def _doom(self, which: ColumnElement[bool]) -> Collection[str]:
        chosen = select(attachments.c.id).where(which).limit(MAX_SWEEP)
        # The condition once more, on the row itself: another transaction may have sent or stored it meanwhile.
        statement = update(attachments).where(attachments.c.id.in_(chosen), which).values(state=DELETED)
        async with writing(self._engine) as connection:
            return list((await connection.execute(statement.returning(attachments.c.id))).scalars())

    async def _change(self, attachment_id: str, owner: Owner, *conditions: ColumnElement[bool], **values: Any) -> None:
        async def work() -> None:
            async with writing(self._engine) as connection:
                await change(connection, attachment_id, owner, *conditions, **values)

        await to_the_end(work())

    async def _run(self, statement: Delete) -> None:
        async with writing(self._engine) as connection:
            await connection.execute(statement)


def total(what: ColumnElement[Any], owner: Owner, *conditions: ColumnElement[bool]) -> Any:
    """A sum or count over all of the owner's rows."""
    return select(what).where(owned(attachments, owner), *conditions).select_from(attachments).scalar_subquery()


def visible(owner: Owner) -> ColumnElement[bool]:
    return and_(owned(attachments, owner), attachments.c.state != DELETED)


async def change(
    connection: AsyncConnection, attachment_id: str, owner: Owner, *conditions: ColumnElement[bool], **values: Any
) -> None:
    """Change one row of the owner's, or raise `NotFoundError`."""
    statement = update(attachments).where(attachments.c.id == known(attachment_id), visible(owner), *conditions)
    result: CursorResult[Any] = await connection.execute(statement.values(**values))
    if not result.rowcount:
        not_found(attachment_id)


async def fetch(connection: AsyncConnection, query: Select[Any]) -> list[Row[Any]]:
    return list((await connection.execute(query)).all())


def row_of(attachment: Attachment, owner: Owner) -> dict[str, Any]:
    return {
        "id": attachment.id,
        "issuer": owner.issuer,
        "subject": owner.subject,
        "tenant": owner.tenant,
        "created_at": datetime.now(UTC),
        "data": dump(attachment, None),
    }


def record_of(row: Row[Any]) -> Record:
    # The column knows when the thread is gone.
    attachment = ATTACHMENT.validate_python({**row.data, "thread_id": row.thread_id})
    return Record(attachment=attachment, size=row.size, is_stored=row.state == STORED)
