"""Everything put together, and what runs beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from agent_backend.attachments.parts import AttachmentParts, build_attachments, sweep_again_and_again
from agent_backend.attachments.settings import AttachmentSettings
from agent_backend.store import SqlStore, build_engine
from agent_backend.trust import GatewayTrust
from tests.agent_backend.attachments.world import ALICE, Shelf, sqlite_shelf


def trust() -> GatewayTrust:
    return GatewayTrust(jwks_url="http://gateway.test/jwks", issuer="g", audience="b", http=httpx.AsyncClient())


async def test_while_they_are_off_there_is_nothing(tmp_path: Path) -> None:
    """The plain store, no desk, no routes, no work at all."""
    engine = build_engine(f"sqlite:///{tmp_path}/agent.sqlite3")
    parts = build_attachments(AttachmentSettings(), engine=engine, trust=trust())

    async with parts.running():
        assert (type(parts.store), parts.desk, parts.prepare, list(parts.routes)) == (SqlStore, None, None, [])
        assert await parts.check() == "off"
    await engine.dispose()


async def age(shelf: Shelf) -> None:
    async with shelf.engine.begin() as connection:
        await connection.execute(text("UPDATE attachments SET created_at = '2000-01-01 00:00:00'"))


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await is_so():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def until_swept(shelf: Shelf) -> None:
    async def is_empty() -> bool:
        return await shelf.rows() == {}

    await until(is_empty)


async def test_the_sweeper_runs_while_we_do(tmp_path: Path) -> None:
    """From the start on, again and again, and not a moment longer."""
    before = asyncio.all_tasks()
    async with sqlite_shelf(tmp_path, sweep_interval=0.01) as shelf:
        await shelf.stored(b"unsent")
        await age(shelf)
        async with AttachmentParts(store=SqlStore(engine=shelf.engine), library=shelf.library).running():
            await until_swept(shelf)
            assert shelf.files() == []
            await shelf.library.announce(name="a", size=1, media_type="", owner=ALICE)
            await age(shelf)
            await until_swept(shelf)

        assert asyncio.all_tasks() == before


async def test_a_failing_sweep_is_not_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that is away for a while ends nothing."""

    async def has_failed() -> bool:
        return "attachments could not be swept" in caplog.text

    async with sqlite_shelf(tmp_path, sweep_interval=0.01) as shelf:
        await shelf.stored(b"unsent")
        await age(shelf)
        async with shelf.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE attachments RENAME TO elsewhere"))
        sweeper = asyncio.create_task(sweep_again_and_again(shelf.library))
        await until(has_failed)
        async with shelf.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE elsewhere RENAME TO attachments"))

        await until_swept(shelf)

        sweeper.cancel()
        await asyncio.wait([sweeper])
