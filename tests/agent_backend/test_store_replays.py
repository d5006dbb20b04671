"""The shared memory of used assertions, on SQLite and on PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.problems import AssertionRefused, ReplaysUnavailable
from agent_backend.store import build_engine
from agent_backend.store.replays import SWEEP_INTERVAL, SqlReplays
from agent_backend.store.schema import migrate


async def test_two_replicas_cannot_both_be_first(engine: AsyncEngine) -> None:
    """Twenty at once, from two processes' worth of memory: one is let in."""
    await migrate(engine)
    replicas = [SqlReplays(engine=engine, clock=lambda: 100.0) for _ in range(2)]

    uses = [replicas[number % 2].use("a", until=160.0) for number in range(20)]
    outcomes = await asyncio.gather(*uses, return_exceptions=True)

    assert [outcome for outcome in outcomes if outcome is None] == [None]
    assert sum(isinstance(outcome, AssertionRefused) for outcome in outcomes) == 19


async def test_only_what_has_ended_is_swept(engine: AsyncEngine) -> None:
    """The table stays small, and what could still be used stays in it."""
    await migrate(engine)
    now = 1000.0
    replays = SqlReplays(engine=engine, clock=lambda: now)
    await replays.use("ended", until=1000.5)
    await replays.use("alive", until=2000.0)
    now += SWEEP_INTERVAL

    await replays.use("new", until=2000.0)

    async with engine.connect() as connection:
        kept = list((await connection.execute(text("SELECT jti FROM assertions ORDER BY jti"))).scalars())
    assert kept == ["alive", "new"]


async def test_without_the_database_we_cannot_tell() -> None:
    """503, and nobody is let in."""
    engine = build_engine("postgresql://nobody@127.0.0.1:1/none")

    with pytest.raises(ReplaysUnavailable):
        await SqlReplays(engine=engine).use("a", until=160.0)

    await engine.dispose()
