"""All that is kept of one owner, counted and deleted.

Rules: which tables those are is read off the tables themselves: whatever names an owner, and whatever belongs to a
thread. So a table that is added cannot be forgotten here. Bytes of attachments are not rows: whoever keeps them deletes
them first.
"""

from sqlalchemy import ColumnElement, Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.context import Owner
from agent_backend.store.database import reading, writing
from agent_backend.store.queries import in_owned_thread, owned
from agent_backend.store.tables import metadata, threads

OWNER = {"issuer", "subject", "tenant"}
NAMING_OWNERS = [table for table in metadata.sorted_tables if set(table.c.keys()) >= OWNER]
# Gone with their threads: ON DELETE CASCADE.
IN_THREADS = [table for table in metadata.sorted_tables if table not in NAMING_OWNERS and "thread_id" in table.c]


async def count_rows(engine: AsyncEngine, owner: Owner) -> dict[str, int]:
    """How many rows there are of this owner's, by table."""
    async with reading(engine) as connection:
        return {
            table.name: (await connection.execute(select(func.count()).where(belongs(table, owner)))).scalar_one()
            for table in [*NAMING_OWNERS, *IN_THREADS]
        }


async def delete_rows(engine: AsyncEngine, owner: Owner) -> None:
    """All of them, or none. A turn of theirs that is under way stops with the next thing it writes."""
    async with writing(engine) as connection:
        for table in sorted(NAMING_OWNERS, key=lambda table: table is threads):
            await connection.execute(delete(table).where(owned(table, owner)))


async def tenants_of(engine: AsyncEngine, *, issuer: str, subject: str) -> list[str]:
    """The tenants in which this subject has anything; ``""`` is outside of any."""
    found: set[str] = set()
    async with reading(engine) as connection:
        for table in NAMING_OWNERS:
            query = select(table.c.tenant).where(table.c.issuer == issuer, table.c.subject == subject).distinct()
            found.update((await connection.execute(query)).scalars())
    return sorted(found)


def belongs(table: Table, owner: Owner) -> ColumnElement[bool]:
    return owned(table, owner) if table in NAMING_OWNERS else in_owned_thread(table, owner)
