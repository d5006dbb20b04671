"""A database that is busy, cut off, or gone for a while: everybody is told once, and nobody has to restart anything."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.app import build_app
from agent_backend.problems import DatabaseUnavailable
from agent_backend.serving import patiently, prepare
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.database import is_outage, reading, write_ahead
from agent_backend.store.schema import ensure_schema, migrate
from tests.agent_backend.reader import Reader
from tests.agent_backend.reader import reading as asked
from tests.agent_backend.test_turns import Replica, begun_thread, kinds, replica
from tests.agent_backend.world import World, answer_in, context_for, running_app, url_of, user_input
from tests.support.postgres import PostgresServer

ONLY_POSTGRES = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
ALICE = context_for("alice")


@pytest.fixture
def switch(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, which is on again after the test whatever happened in it."""
    yield postgres
    postgres.start()


def errors_in(reader: Reader) -> list[dict[str, Any]]:
    return [event for event in reader.events if event["type"] == "error"]


@ONLY_POSTGRES
async def test_no_connection_is_held_while_the_model_talks(world: World, engine: AsyncEngine) -> None:
    """One connection serves two answers at once, and a third request beside them."""
    async with replica(world, engine, database={"url": url_of(engine), "pool_size": 1, "pool_timeout": 2}) as one:
        first = asked(one.app, one.caller, "threads.create", input=user_input("One"))
        second = asked(one.app, one.caller, "threads.create", input=user_input("Two"))
        async with first as left, second as right:
            await one.model.until_asked(2)
            one.model.allow(6)
            await one.model.until_spoken(6)
            beside = await one.caller.send("threads.list")
            one.model.allow(18)

    assert beside.status_code == 200
    assert [answer_in(reader.events)[-7:] for reader in (left, right)] == ["word11 "] * 2


@ONLY_POSTGRES
async def test_a_pool_that_is_used_up_is_503(world: World, engine: AsyncEngine) -> None:
    """Not a hang, and not a 500: a code, a message, and when to come back."""
    await migrate(engine)
    store = SqlStore(engine=build_engine(url_of(engine), pool_size=1, pool_timeout=0.05))
    async with reading(store.engine) as _:
        with pytest.raises(DatabaseUnavailable) as refused:
            await store.load_threads(9, None, "desc", ALICE)
    await store.engine.dispose()

    answer = refused.value.response("r-1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (refused.value.code, "data" in refused.value.message) == ("database_unavailable", True)


@ONLY_POSTGRES
async def test_connections_cut_in_mid_stream_cost_at_most_one_answer(world: World, engine: AsyncEngine) -> None:
    """Every idle connection is cut by the server while the model talks: the answer is stored with a new one."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with asked(one.app, one.caller, "threads.add_user_message", **message) as reader:
            one.model.allow(3)
            await reader.until("word2")
            async with engine.connect() as connection:
                cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                await connection.execute(text(f"{cut} AND datname = current_database()"))
            one.model.allow(9)
        after = await kinds(one, thread_id)

    assert errors_in(reader) == []
    assert after == ["user_message", "assistant_message"] * 2


@ONLY_POSTGRES
async def test_an_outage_is_told_once_and_over_by_itself(
    world: World, engine: AsyncEngine, switch: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In mid-stream: one error event that carries a message. Meanwhile: 503 and not ready. Afterwards: as before."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with asked(one.app, one.caller, "threads.add_user_message", **message) as reader:
            one.model.allow(3)
            await reader.until("word2")
            await asyncio.to_thread(switch.stop)
            listed = await one.caller.send("threads.list")
            create = await one.caller.send("threads.create", input=user_input("Three"))
            unready, alive = await probe(one)
            one.model.allow(9)
        await asyncio.to_thread(switch.start)
        ready, _ = await probe(one)
        one.model.allow(12)
        await wait_for_lease(one, thread_id)
        after = await kinds(one, thread_id)

    assert [(answer.status_code, answer.headers["retry-after"]) for answer in (listed, create)] == [(503, "5")] * 2
    assert all(answer.json()["code"] and answer.json()["message"] for answer in (listed, create))
    assert len(errors_in(reader)) == 1
    assert errors_in(reader)[0]["message"]
    assert (unready.status_code, alive.status_code, ready.status_code) == (503, 200, 200)
    assert unready.json()["checks"] == {"database": "unreachable", "schema": "unknown", "gateway_keys": "ok"}
    assert after == ["user_message", "assistant_message", "user_message", "user_message", "assistant_message"]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def probe(one: Replica) -> tuple[httpx.Response, httpx.Response]:
    return await one.caller.http.get("/readyz"), await one.caller.http.get("/livez")


async def wait_for_lease(one: Replica, thread_id: str) -> None:
    """The next turn, as soon as the lease that could not be given back has ended."""
    message = {"thread_id": thread_id, "input": user_input("Four")}
    async with asyncio.timeout(10):
        # Nothing here could say when a lease ends.
        while (await one.caller.send("threads.add_user_message", **message)).status_code == 409:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@ONLY_POSTGRES
async def test_a_database_that_starts_later_is_waited_for(
    world: World, engine: AsyncEngine, switch: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Both may be started together; after the time that is set the reason is told."""
    await migrate(engine)
    await asyncio.to_thread(switch.stop)
    database = {"url": url_of(engine), "start_timeout": 0}
    at_once = await prepare(world.settings(database=database))
    later = asyncio.create_task(prepare(world.settings(database={**database, "start_timeout": 30})))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(switch.start)
    in_time = await later

    assert str(at_once).startswith("the database cannot be used: ")
    assert in_time is None
    assert [record.message for record in caplog.records if record.name == "agent_backend.serving"] == [
        "waiting for the database"
    ]


async def test_only_an_outage_is_waited_for() -> None:
    """A wrong password is told at once."""
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        raise PermissionDenied

    class PermissionDenied(Exception):
        sqlstate = "28P01"

    with pytest.raises(PermissionDenied):
        await patiently(work, patience=30)
    assert attempts == 1


async def test_health_names_the_command_to_run(world: World, engine: AsyncEngine) -> None:
    """A schema that is older, or another program's: exactly that is said."""
    await ready_schema(engine)
    app = build_app(world.settings(database={"url": url_of(engine)}))
    async with running_app(app) as http:
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        older = await http.get("/readyz")
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        newer = await http.get("/readyz")

    assert [(answer.status_code, answer.json()["checks"]["database"]) for answer in (older, newer)] == [(503, "ok")] * 2
    assert "run: agent_backend migrate --settings FILE" in older.json()["checks"]["schema"]
    assert "newer" in newer.json()["checks"]["schema"]


async def ready_schema(engine: AsyncEngine) -> None:
    await migrate(engine)
    await ensure_schema(engine)


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (ConnectionRefusedError("nobody there"), True),
        (TimeoutError("a statement took too long"), True),
        (PoolTimeout("none free"), True),
        (ValueError("ours"), False),
        (DBAPIError("SELECT 1", {}, sqlite3.OperationalError("no such table: x")), False),
    ],
)
def test_what_is_an_outage(exc: Exception, expected: bool) -> None:
    """Waiting helps, or it does not."""
    assert is_outage(exc) is expected


async def test_a_locked_file_is_an_outage(engine: AsyncEngine) -> None:
    """Another process writes for longer than we wait: 503, and the file is as good as ever."""
    if engine.dialect.name != "sqlite":
        return
    await migrate(engine)
    store = SqlStore(engine=engine)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=1")
    holder = sqlite3.connect(str(engine.url.database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        await store.delete_empty_thread("thr_1", ALICE)
    holder.execute("COMMIT")
    holder.close()
    await store.delete_empty_thread("thr_1", ALICE)


def test_a_new_file_that_another_is_opening_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself says `locked` at once to whoever comes second, and four backends may start at the same moment."""
    first, second = (
        sqlite3.connect(tmp_path / "new.sqlite3", isolation_level=None, timeout=0, check_same_thread=False)
        for _ in range(2)
    )
    first.execute("BEGIN EXCLUSIVE")
    waiting = threading.Thread(target=write_ahead, args=(second.cursor(),))
    waiting.start()
    waiting.join(0.1)
    was_waiting = waiting.is_alive()
    first.execute("COMMIT")
    waiting.join(10)

    assert (was_waiting, second.execute("PRAGMA journal_mode").fetchone()) == (True, ("wal",))
    first.close()
    second.close()
