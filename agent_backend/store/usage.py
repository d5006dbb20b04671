"""What answers cost, in the database: one row per thread and UTC day, which grows.

Rules: one statement counts one answer, so two at once are both counted. Days are UTC's, whatever the machine's clock
shows. Reading sums rows of all owners: it is for operators, and no request leads here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.context import Owner
from agent_backend.store.database import reading, writing
from agent_backend.store.tables import usage
from agent_backend.usage import Tokens

By = Literal["user", "thread"]
FIGURES = ("answers", "partial", "requests", "tokens_in", "tokens_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A sum for one user, or for one thread of theirs."""

    owner: Owner
    thread_id: str | None
    answers: int
    partial: int
    requests: int
    tokens_in: int
    tokens_out: int


def utc_now() -> datetime:
    return datetime.now(UTC)


class SqlUsage:
    """Counts, and sums up."""

    def __init__(self, *, engine: AsyncEngine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def __repr__(self) -> str:
        return f"<SqlUsage {self._engine.url!r}>"

    async def add(self, owner: Owner, thread_id: str, tokens: Tokens) -> None:
        """Count one answer."""
        figures = {
            "answers": tokens.answers,
            "partial": tokens.answers if tokens.is_partial else 0,
            "requests": tokens.requests,
            "tokens_in": tokens.input,
            "tokens_out": tokens.output,
        }
        insert = self._insert(usage).values(
            day=self._clock().astimezone(UTC).date(),
            thread_id=thread_id,
            issuer=owner.issuer,
            subject=owner.subject,
            tenant=owner.tenant,
            **figures,
        )
        more = {name: usage.c[name] + insert.excluded[name] for name in figures}
        upsert = insert.on_conflict_do_update(index_elements=["day", "thread_id"], set_=more)
        async with writing(self._engine) as connection:
            await connection.execute(upsert)

    async def totals(self, *, by: By, since: date | None = None) -> list[Total]:
        """Sums since that day, it included, the dearest first."""
        names = ["issuer", "subject", "tenant", *(["thread_id"] if by == "thread" else [])]
        keys = [usage.c[name] for name in names]
        sums = [func.sum(usage.c[name]).label(name) for name in FIGURES]
        cost = func.sum(usage.c.tokens_in + usage.c.tokens_out)
        query = select(*keys, *sums).group_by(*keys).order_by(cost.desc(), *keys)
        if since is not None:
            query = query.where(usage.c.day >= since)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            Total(
                owner=Owner(issuer=row["issuer"], subject=row["subject"], tenant=row["tenant"]),
                thread_id=row.get("thread_id"),
                **{name: int(row[name]) for name in FIGURES},
            )
            for row in rows
        ]
