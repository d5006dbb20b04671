"""The assertions that any replica has seen: one table that all of them share.

Rules: as `agent_backend.replay`: a second use is refused, an entry lives until its assertion has expired, and none is
given up before. The insert itself is the check, so two replicas cannot both be first. When the database cannot tell,
the request is refused with 503.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.problems import AssertionRefused, DatabaseUnavailable, ReplaysUnavailable
from agent_backend.store.database import writing
from agent_backend.store.tables import assertions

# Seconds between two sweeps of what has ended; rows live a minute, so the table holds two minutes of requests.
SWEEP_INTERVAL = 60.0


class SqlReplays:
    """Uses, noted in the database."""

    def __init__(self, *, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._swept_at = 0.0

    def __repr__(self) -> str:
        return f"<SqlReplays {self._engine.url!r}>"

    async def use(self, jti: str, *, until: float) -> None:
        """Note one use; the second raises `AssertionRefused`."""
        try:
            is_first = await self._note(jti, datetime.fromtimestamp(until, UTC))
        except (DatabaseUnavailable, SQLAlchemyError) as exc:
            raise ReplaysUnavailable(type(exc).__name__) from exc
        if not is_first:
            raise AssertionRefused("assertion_replayed", f"jti {jti!r} was used before")

    async def _note(self, jti: str, ends_at: datetime) -> bool:
        insert = self._insert(assertions).values(jti=jti, ends_at=ends_at).on_conflict_do_nothing()
        async with writing(self._engine) as connection:
            if self._is_sweep_due():
                now = datetime.fromtimestamp(self._clock(), UTC)
                await connection.execute(delete(assertions).where(assertions.c.ends_at < now))
            result: CursorResult[Any] = await connection.execute(insert)
            return result.rowcount == 1

    def _is_sweep_due(self) -> bool:
        """True once per interval."""
        now = self._clock()
        if now - self._swept_at < SWEEP_INTERVAL:
            return False
        self._swept_at = now
        return True
