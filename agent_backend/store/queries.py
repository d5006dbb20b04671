"""What the store's statements are made of.

Rules: every condition here speaks of the owner; a page is bounded and in the order of insertion; what is not there and
what is not yours are the same `NotFoundError`.
"""

from datetime import datetime
from typing import Any, NoReturn

from chatkit.store import NotFoundError
from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_backend.context import Owner, RequestContext
from agent_backend.store.ids import is_id
from agent_backend.store.tables import threads, turns

# Rows of one page. The client was seen asking for 9,999 threads.
MAX_PAGE = 100
# Characters of JSON after which a page ends: a hundred messages as long as a request may be would be a gigabyte in
# memory, and a screen shows some kilobytes.
MAX_PAGE_SIZE = 4 * 1024 * 1024


def owned(table: Table, owner: Owner) -> ColumnElement[bool]:
    """The row is the owner's."""
    return and_(table.c.issuer == owner.issuer, table.c.subject == owner.subject, table.c.tenant == owner.tenant)


def in_owned_thread(table: Table, owner: Owner) -> ColumnElement[bool]:
    """The row's thread is the owner's."""
    return exists(select(literal(1)).where(threads.c.id == table.c.thread_id, owned(threads, owner)))


def fenced(thread_id: str, context: RequestContext) -> ColumnElement[bool]:
    """The turn that writes still holds its thread; who writes outside of a turn need not.

    A process that slept through its lease wakes up with the rest of an answer in its hands, while another turn is
    under way: it must not get between that turn's items.
    """
    if context.lease is None:
        return true()
    return exists(select(literal(1)).where(turns.c.thread_id == thread_id, turns.c.holder == context.lease))


async def page(
    connection: AsyncConnection, table: Table, where: ColumnElement[bool], *, limit: int, after: str | None, order: str
) -> tuple[list[Any], bool]:
    """One page of `data` in the order of insertion, and whether there is more."""
    size = min(max(limit, 1), MAX_PAGE)
    newest_first = order == "desc"
    length = func.length(cast(table.c.data, Text)).label("length")
    query = select(table.c.data, table.c.sequence, length).where(where).limit(size + 1)
    query = query.order_by(table.c.sequence.desc() if newest_first else table.c.sequence)
    if after is not None:
        cursor = await one(connection, select(table.c.sequence).where(where, table.c.id == known(after)), after)
        query = query.where(table.c.sequence < cursor if newest_first else table.c.sequence > cursor)
    found = (await connection.execute(within_size(query.subquery(), newest_first=newest_first))).scalars().all()
    kept = [data for data in found[:size] if data is not None]
    return kept, len(found) > len(kept)


def within_size(rows: Subquery, *, newest_first: bool) -> Select[Any]:
    """The rows' `data`, in order; NULL where those before it are a page already. The first is always there."""
    order = rows.c.sequence.desc() if newest_first else rows.c.sequence
    before = func.coalesce(func.sum(rows.c.length).over(order_by=order, rows=(None, -1)), 0)
    return select(case((before < MAX_PAGE_SIZE, rows.c.data), else_=null())).order_by(order)


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
