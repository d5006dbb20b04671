"""What the agent backend's tests share: a world with a gateway in it, and databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.store import build_engine
from tests.agent_backend.world import World, build_world
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway's keys behind a real URL, and settings of a backend that trusts them."""
    with build_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started for these tests."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    return postgres.url


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/agent.sqlite3"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = build_engine(url, pool_size=3)
    if request.param == "postgresql":
        await empty(engine)
    yield engine
    await engine.dispose()


async def empty(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
