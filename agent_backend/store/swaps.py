"""Changes that are right only if nobody else was faster: a title thought of later, a widget that was clicked.

Rules: each is one transaction that locks its row before it looks, so that a change by somebody else, in another process
too, comes before it or after it and never in between. What is there must be what the caller saw, or nothing is changed.
Filtered by owner like everything here. No lease is asked for: these come beside turns and after them.
"""

from typing import Any

from chatkit.types import ThreadItem
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, CursorResult, Table, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agent_backend.context import RequestContext
from agent_backend.store.database import writing
from agent_backend.store.queries import dump, in_owned_thread, known, owned
from agent_backend.store.tables import items, threads
from agent_backend.store.times import for_chatkit, to_utc
from agent_backend.tasks import to_the_end

ITEM = TypeAdapter[ThreadItem](ThreadItem)


class SqlSwaps:
    """Puts something in the place of what the caller saw."""

    def __init__(self, *, engine: AsyncEngine) -> None:
        self._engine = engine

    async def replace_title(self, thread_id: str, *, old: str | None, new: str, context: RequestContext) -> bool:
        """False when the thread is called something else by now, or is not there."""
        return await to_the_end(self._replace_title(thread_id, old=old, new=new, context=context))

    async def replace_item(self, *, old: ThreadItem, new: ThreadItem, context: RequestContext) -> bool:
        """False when the item is another by now, or is not there."""
        return await to_the_end(self._replace_item(old=old, new=new, context=context))

    async def _replace_title(self, thread_id: str, *, old: str | None, new: str, context: RequestContext) -> bool:
        where = and_(threads.c.id == known(thread_id), owned(threads, context.owner))
        async with writing(self._engine) as connection:
            data = await lock(connection, threads, where)
            if data is None or data.get("title") != old:
                return False
            await connection.execute(update(threads).where(where).values(data={**data, "title": new}))
            return True

    async def _replace_item(self, *, old: ThreadItem, new: ThreadItem, context: RequestContext) -> bool:
        where = and_(
            items.c.thread_id == known(old.thread_id),
            items.c.id == known(old.id),
            in_owned_thread(items, context.owner),
        )
        async with writing(self._engine) as connection:
            data = await lock(connection, items, where)
            if data is None or for_chatkit(ITEM.validate_python(data)) != old:
                return False
            await connection.execute(update(items).where(where).values(data=dump(new, to_utc(new.created_at))))
            return True


async def lock(connection: AsyncConnection, table: Table, where: ColumnElement[bool]) -> dict[str, Any] | None:
    """What the row holds, ours until the transaction ends; None without such a row.

    Locked by writing it as it is: PostgreSQL has SELECT … FOR UPDATE for this, SQLite has not.
    """
    locked: CursorResult[Any] = await connection.execute(update(table).where(where).values(id=table.c.id))
    if locked.rowcount == 0:
        return None
    data: dict[str, Any] = (await connection.execute(select(table.c.data).where(where))).scalar_one()
    return data
