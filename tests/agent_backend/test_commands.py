"""What is done to a database from the command line, on both kinds."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command as alembic_command
from chatkit.types import AssistantMessageContent, AssistantMessageItem, FileAttachment, ThreadMetadata
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.attachments.records import AttachmentRecords
from agent_backend.context import Owner, RequestContext
from agent_backend.store import Leases, SqlStore, build_engine
from agent_backend.store.forget import IN_THREADS, NAMING_OWNERS, count_rows
from agent_backend.store.ids import new_id
from agent_backend.store.schema import (
    SchemaUnknown,
    check_schema,
    current_revision,
    known_revision,
    migrate,
    migrations,
)
from agent_backend.store.tables import metadata
from agent_backend.store.usage import SqlUsage
from agent_backend.usage import Tokens
from tests.agent_backend.test_main import run_main, write_settings
from tests.agent_backend.world import World, context_for, url_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ALICE = context_for("alice")
ALICE_AT_ACME = context_for("alice", tenant="acme")
MALLORY = context_for("mallory")


async def command(world: World, engine: AsyncEngine, *arguments: str, settings: str = "") -> int:
    file = write_settings(world, database=url_of(engine))
    file.write_text(f"{file.read_text()}\n{settings}\n")
    name, *options = arguments
    return await asyncio.to_thread(run_main, name, "--settings", str(file), *options)


async def test_check_says_what_migrating_would_do(
    world: World, engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step by name, and status 1, until there is none; nothing is done by looking."""
    before = [await command(world, engine, "migrate", option) for option in ("--check", "--current")]
    untouched = await current_revision(engine)
    told = capsys.readouterr().out.splitlines()
    done = await command(world, engine, "migrate")
    after = [await command(world, engine, "migrate", option) for option in ("--check", "--current")]
    told_after = capsys.readouterr().out.splitlines()

    assert (before, untouched, done, after) == ([1, 0], None, 0, [0, 0])
    assert told[0] == "would run 0001 Threads, items, attachments, feedback; used assertions."
    assert [line.split()[:2] for line in told[:-1]] == [["would", "run"]] * (len(told) - 1)
    assert told[-1] == f"schema empty (this version: {known_revision()})"
    assert told_after[-2:] == [
        f"nothing to do: schema {known_revision()}",
        f"schema {known_revision()} (this version: {known_revision()})",
    ]


async def test_two_who_migrate_at_once_do_it_once(engine: AsyncEngine) -> None:
    """The second waits for the first, and finds nothing left to do."""
    others = [build_engine(url_of(engine)) for _ in range(3)]

    await asyncio.gather(*(migrate(other) for other in others))

    await check_schema(engine)
    for other in others:
        await other.dispose()


async def test_a_migration_that_fails_leaves_nothing_behind(engine: AsyncEngine) -> None:
    """All steps or none, on SQLite too: the next attempt begins where this one did."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE unrelated (id INTEGER)"))
        await connection.execute(text("CREATE VIEW turns AS SELECT 1 AS one"))

    with pytest.raises(Exception, match="turns"):
        await migrate(engine)

    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: set(engine.dialect.get_table_names(sync)))
    assert names == {"unrelated"}


async def test_tables_of_somebody_else_are_left_alone(
    world: World, engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with a name of ours, that no migration of ours made: neither served nor migrated."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE threads (id INTEGER)"))

    with pytest.raises(SchemaUnknown, match="did not make: threads"):
        await check_schema(engine)
    statuses = [await command(world, engine, name) for name in ("serve", "migrate")]

    assert statuses == [1, 1]
    assert capsys.readouterr().err.count("name an empty database in [database] url") == 2


async def fill(engine: AsyncEngine, who: RequestContext) -> ThreadMetadata:
    """One of everything that can belong to a user."""
    store = SqlStore(engine=engine)
    made = ThreadMetadata(id=new_id("thread"), created_at=NOW)
    await store.save_thread(made, who)
    item = AssistantMessageItem(
        id="msg_1", thread_id=made.id, created_at=NOW, content=[AssistantMessageContent(text="private")]
    )
    await store.add_thread_item(made.id, item, who)
    await store.save_feedback(made.id, [item.id], "positive", who)
    await store.save_attachment(FileAttachment(id=new_id("attachment"), name="a", mime_type="text/plain"), who)
    await SqlUsage(engine=engine).add(who.owner, made.id, Tokens(requests=1, input=2, output=3))
    lease = Leases(engine=engine).build()
    await lease.take(made.id, who)
    await lease.release()
    return made


def attachments_in(folder: Path) -> str:
    key = "x" * 32
    return (
        f'[attachments]\ndirectory = "{folder}/files"\npublic_url = "https://chat.test/attachments"\n'
        f'url_keys = ["{key}"]\n'
    )


async def test_forget_deletes_all_of_one_user_and_nothing_else(
    world: World, engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted first, then gone, then nothing to find; the same subject elsewhere is named and kept."""
    await migrate(engine)
    for who in (ALICE, ALICE_AT_ACME, MALLORY):
        await fill(engine, who)
    settings = attachments_in(world.folder)
    (world.folder / "files").mkdir()
    alice = ("forget", "--issuer", "https://login.test", "--subject", "alice")

    statuses = [await command(world, engine, *alice, "--dry-run", settings=settings)]
    kept = await total(engine, ALICE.owner)
    statuses += [await command(world, engine, *alice, settings=settings) for _ in range(2)]
    told = [line for line in capsys.readouterr().out.splitlines() if "delete" in line]
    statuses.append(await command(world, engine, *alice, "--tenant", "acme", settings=settings))

    assert statuses == [0, 0, 0, 0]
    assert kept == 5
    counts = "1 attachments, 1 feedback, 1 items, 1 threads, 0 turns, 1 usage"
    none = "0 attachments, 0 feedback, 0 items, 0 threads, 0 turns, 0 usage"
    assert told == [f"would delete: {counts}", f"deleted: {counts}", f"deleted: {none}"]
    assert [await total(engine, who.owner) for who in (ALICE, ALICE_AT_ACME, MALLORY)] == [0, 0, 5]
    assert "login.test" not in capsys.readouterr().out


async def test_forget_names_what_it_did_not_touch(
    world: World, engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tenant that was not thought of; and bytes whose place it does not know stop it before the first row."""
    await migrate(engine)
    await fill(engine, ALICE_AT_ACME)
    arguments = ("forget", "--issuer", "https://login.test", "--subject", "alice")

    elsewhere = await command(world, engine, *arguments)
    without_bytes = await command(world, engine, *arguments, "--tenant", "acme")
    not_there = await command(world, engine, *arguments, "--tenant", "acme", settings=attachments_in(world.folder))

    said = capsys.readouterr()
    assert (elsewhere, without_bytes, not_there) == (0, 1, 1)
    assert "is [attachments] directory right, and mounted?" in said.err
    assert "not touched, what this subject has in tenant 'acme': name it with --tenant" in said.out
    assert "set [attachments]" in said.err
    assert await total(engine, ALICE_AT_ACME.owner) == 5


async def total(engine: AsyncEngine, owner: Owner) -> int:
    return sum((await count_rows(engine, owner)).values())


def test_no_table_can_be_forgotten() -> None:
    """Every table is somebody's, or belongs to a thread; but the assertions, which name nobody and live a minute."""
    covered: list[Any] = [*NAMING_OWNERS, *IN_THREADS]

    assert {table.name for table in metadata.sorted_tables} - {table.name for table in covered} == {"assertions"}


async def test_what_was_stored_by_the_first_version_is_there_after_migrating(world: World, engine: AsyncEngine) -> None:
    """Conversations, opinions and attachments of schema 0001 are read by this one, on both kinds of database."""
    async with engine.connect() as connection:
        await connection.run_sync(upgrade_to, "0001")
        await connection.commit()
        for table, values in OLD_ROWS:
            await connection.execute(metadata.tables[table].insert().values(values))
        await connection.commit()

    done = await command(world, engine, "migrate")
    store = SqlStore(engine=engine)
    thread = await store.load_thread("thr_1", ALICE)
    item = await store.load_item("thr_1", "msg_1", ALICE)
    attachment = await store.load_attachment("atc_1", ALICE)
    record = await AttachmentRecords(engine=engine).find("atc_1", ALICE.owner)
    kept = await AttachmentRecords(engine=engine).doom_overdue(pending_before=NOW, unsent_before=NOW)
    async with engine.connect() as connection:
        opinions = (await connection.execute(text("SELECT kind FROM feedback"))).scalars().all()
    await store.delete_thread("thr_1", ALICE)

    assert done == 0
    assert (thread.title, item.type, attachment.name) == ("Old", "assistant_message", "a.txt")
    assert (record.attachment.thread_id, record.is_stored, list(kept)) == ("thr_1", True, [])
    assert opinions == ["positive"]
    assert (await count_rows(engine, ALICE.owner))["items"] == 0


def upgrade_to(connection: Connection, revision: str) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    alembic_command.upgrade(config, revision)


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
OWNED = {"issuer": "https://login.test", "subject": "alice", "tenant": "", "created_at": MOMENT}
# The tables of today, of which only the columns of 0001 are written.
OLD_ROWS: list[tuple[str, dict[str, Any]]] = [
    (
        "threads",
        {**OWNED, "id": "thr_1", "data": {"id": "thr_1", "title": "Old", "created_at": "2026-01-01T00:00:00Z"}},
    ),
    (
        "items",
        {
            "id": "msg_1",
            "thread_id": "thr_1",
            "created_at": MOMENT,
            "data": {
                "id": "msg_1",
                "thread_id": "thr_1",
                "type": "assistant_message",
                "created_at": "2026-01-01T00:00:00Z",
                "content": [],
            },
        },
    ),
    (
        "attachments",
        {
            **OWNED,
            "id": "atc_1",
            "data": {
                "id": "atc_1",
                "type": "file",
                "name": "a.txt",
                "mime_type": "text/plain",
                "thread_id": "thr_1",
            },
        },
    ),
    ("feedback", {"thread_id": "thr_1", "item_id": "msg_1", "kind": "positive", "created_at": MOMENT}),
]
