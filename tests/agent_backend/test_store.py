"""The store on SQLite and on a real PostgreSQL: the same promises from one file."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    FileAttachment,
    HiddenContextItem,
    ThreadMetadata,
    Workflow,
    WorkflowItem,
)
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.context import RequestContext
from agent_backend.problems import Conflict
from agent_backend.store import SqlStore
from agent_backend.store.database import database_url
from agent_backend.store.ids import new_id
from agent_backend.store.queries import MAX_PAGE, MAX_PAGE_SIZE
from agent_backend.store.schema import SchemaUnknown, ensure_schema, known_revision, migrate
from agent_backend.store.tables import metadata
from tests.agent_backend.world import context_for

ALICE = context_for("alice")
MALLORY = context_for("mallory")
# The same subject: vouched for by another issuer, and in another tenant.
OTHER_ALICES = [context_for("alice", issuer="https://evil.test"), context_for("alice", tenant="acme")]


@pytest.fixture
async def store(engine: AsyncEngine) -> SqlStore:
    await migrate(engine)
    return SqlStore(engine=engine)


def thread(**changes: Any) -> ThreadMetadata:
    return ThreadMetadata(**{"id": new_id("thread"), "created_at": datetime.now(UTC), **changes})


def message(thread_id: str, words: str, **changes: Any) -> AssistantMessageItem:
    return AssistantMessageItem(
        **{
            "id": new_id("message"),
            "thread_id": thread_id,
            "created_at": datetime.now(UTC),
            "content": [AssistantMessageContent(text=words)],
            **changes,
        }
    )


async def saved_thread(store: SqlStore, context: RequestContext = ALICE) -> ThreadMetadata:
    made = thread()
    await store.save_thread(made, context)
    return made


async def test_a_thread_comes_back_as_it_was(store: SqlStore) -> None:
    """Title, metadata, domains and time survive; even a NUL, which PostgreSQL's own texts refuse."""
    made = thread(title="A\x00B “ü”", metadata={"a": [1, None]}, allowed_image_domains=["img.test"])

    await store.save_thread(made, ALICE)

    assert await store.load_thread(made.id, ALICE) == made


async def test_an_item_comes_back_as_it_was(store: SqlStore) -> None:
    """An item is the same after a round trip, hidden ones included."""
    made = await saved_thread(store)
    hidden = HiddenContextItem(
        id=new_id("message"), thread_id=made.id, created_at=datetime.now(UTC), content={"deep": ["x"]}
    )

    await store.add_thread_item(made.id, hidden, ALICE)

    assert await store.load_item(made.id, hidden.id, ALICE) == hidden


Attempt = Callable[[SqlStore, str, str, RequestContext], Awaitable[object]]
ATTEMPTS: dict[str, Attempt] = {
    "load_thread": lambda store, thread_id, item_id, who: store.load_thread(thread_id, who),
    "save_thread": lambda store, thread_id, item_id, who: store.save_thread(thread(id=thread_id, title="taken"), who),
    "load_thread_items": lambda store, thread_id, item_id, who: store.load_thread_items(thread_id, None, 9, "asc", who),
    "add_thread_item": lambda store, thread_id, item_id, who: store.add_thread_item(
        thread_id, message(thread_id, "mine", id=item_id), who
    ),
    "save_item": lambda store, thread_id, item_id, who: store.save_item(
        thread_id, message(thread_id, "mine", id=item_id), who
    ),
    "load_item": lambda store, thread_id, item_id, who: store.load_item(thread_id, item_id, who),
    "delete_thread": lambda store, thread_id, item_id, who: store.delete_thread(thread_id, who),
    "delete_thread_item": lambda store, thread_id, item_id, who: store.delete_thread_item(thread_id, item_id, who),
    "save_feedback": lambda store, thread_id, item_id, who: store.save_feedback(thread_id, [item_id], "negative", who),
    "after": lambda store, thread_id, item_id, who: store.load_threads(9, thread_id, "desc", who),
    "load_attachment": lambda store, thread_id, item_id, who: store.load_attachment("atc_1", who),
    "delete_attachment": lambda store, thread_id, item_id, who: store.delete_attachment("atc_1", who),
    "save_attachment": lambda store, thread_id, item_id, who: store.save_attachment(
        FileAttachment(id="atc_1", name="stolen", mime_type="text/plain"), who
    ),
}


@pytest.mark.parametrize("who", [MALLORY, *OTHER_ALICES], ids=["subject", "issuer", "tenant"])
async def test_nobody_reaches_anothers_data(store: SqlStore, who: RequestContext) -> None:
    """Every method answers another owner as if nothing were there, and changes nothing."""
    made = await saved_thread(store)
    item = message(made.id, "private")
    await store.add_thread_item(made.id, item, ALICE)
    attachment = FileAttachment(id="atc_1", name="private.txt", mime_type="text/plain")
    await store.save_attachment(attachment, ALICE)

    for name, attempt in ATTEMPTS.items():
        with pytest.raises(NotFoundError):
            print(name, await attempt(store, made.id, item.id, who))

    assert (await store.load_threads(9, None, "desc", who)).data == []
    assert await store.load_thread(made.id, ALICE) == made
    assert (await store.load_thread_items(made.id, None, 9, "asc", ALICE)).data == [item]
    assert await store.load_attachment("atc_1", ALICE) == attachment


@pytest.mark.parametrize("name", ["", "x" * 129, "a\x00b", "ü", "a\nb"])
async def test_what_can_be_no_id_is_not_found(store: SqlStore, name: str) -> None:
    """No id breaks the database: it is refused before it gets there."""
    made = await saved_thread(store)

    with pytest.raises(NotFoundError):
        await store.load_thread(name, ALICE)
    with pytest.raises(NotFoundError):
        await store.load_item(made.id, name, ALICE)


async def test_the_same_item_twice_is_one_item(store: SqlStore) -> None:
    """Saving an id again updates that item and leaves it in its place; adding it again changes nothing."""
    made = await saved_thread(store)
    first, second = message(made.id, "first"), message(made.id, "second")
    for item in (first, second, first):
        await store.add_thread_item(made.id, item, ALICE)
    changed = message(made.id, "first, changed", id=first.id)

    with pytest.raises(Conflict):
        await store.add_thread_item(made.id, changed, ALICE)
    assert (await store.load_thread_items(made.id, None, 9, "asc", ALICE)).data == [first, second]
    await store.save_item(made.id, changed, ALICE)

    assert (await store.load_thread_items(made.id, None, 9, "asc", ALICE)).data == [changed, second]


async def test_an_item_of_another_thread_is_refused(store: SqlStore) -> None:
    """What an item says of its thread and where it is kept cannot differ."""
    one, other = await saved_thread(store), await saved_thread(store)

    for keep in (store.add_thread_item, store.save_item):
        with pytest.raises(ValueError, match="was given for"):
            await keep(one.id, message(other.id, "astray"), ALICE)


async def test_the_same_item_id_in_two_threads_is_two_items(store: SqlStore) -> None:
    """An id somebody else already uses is neither a conflict nor a way to their item."""
    hers, his = await saved_thread(store), await saved_thread(store, MALLORY)
    item = message(hers.id, "hers", id="msg_shared")
    await store.add_thread_item(hers.id, item, ALICE)

    await store.add_thread_item(his.id, message(his.id, "his", id="msg_shared"), MALLORY)

    assert await store.load_item(hers.id, "msg_shared", ALICE) == item


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_cover_every_row_once(store: SqlStore, order: str) -> None:
    """Cursors lose nothing and repeat nothing, even where all times are equal."""
    made = await saved_thread(store)
    moment = datetime.now(UTC)
    names = [f"msg_{number}" for number in range(7)]
    for name in names:
        await store.add_thread_item(made.id, message(made.id, name, id=name, created_at=moment), ALICE)

    seen: list[str] = []
    after, has_more = None, True
    while has_more:
        page = await store.load_thread_items(made.id, after, 3, order, ALICE)
        seen += [item.id for item in page.data]
        after, has_more = page.after, page.has_more

    assert seen == (names if order == "asc" else names[::-1])


async def test_threads_are_listed_newest_first(store: SqlStore) -> None:
    """The list of conversations pages in the order they were begun."""
    made = [(await saved_thread(store)).id for _ in range(3)]

    first = await store.load_threads(2, None, "desc", ALICE)
    rest = await store.load_threads(2, first.after, "desc", ALICE)

    assert [entry.id for entry in first.data + rest.data] == made[::-1]
    assert (first.has_more, rest.has_more, rest.after) == (True, False, None)


@pytest.mark.parametrize(("limit", "expected"), [(9999, MAX_PAGE), (0, 1), (-5, 1)])
async def test_a_page_is_bounded_whatever_is_asked(store: SqlStore, limit: int, expected: int) -> None:
    """The client was seen asking for 9,999."""
    made = await saved_thread(store)
    items = [message(made.id, "x") for _ in range(MAX_PAGE + 1)]
    for item in items:
        await store.add_thread_item(made.id, item, ALICE)

    page = await store.load_thread_items(made.id, None, limit, "asc", ALICE)

    assert len(page.data) == expected
    assert page.has_more


async def test_an_unknown_cursor_is_not_found(store: SqlStore) -> None:
    """A page after nothing is no page: it must not start again from the top."""
    made = await saved_thread(store)

    with pytest.raises(NotFoundError):
        await store.load_thread_items(made.id, "msg_gone", 9, "asc", ALICE)


async def test_a_thread_takes_everything_in_it_along(store: SqlStore) -> None:
    """Deleting a thread deletes its items and what was said of them."""
    made = await saved_thread(store)
    item = message(made.id, "gone soon")
    await store.add_thread_item(made.id, item, ALICE)
    await store.save_feedback(made.id, [item.id], "positive", ALICE)

    await store.delete_thread(made.id, ALICE)

    async with store.engine.connect() as connection:
        counts = [await connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in ("items", "feedback")]  # noqa: S608
    assert counts == [0, 0]


async def test_feedback_on_any_unknown_item_is_not_kept(store: SqlStore) -> None:
    """All of the items or none: half an opinion is a wrong one."""
    made = await saved_thread(store)
    item = message(made.id, "good")
    await store.add_thread_item(made.id, item, ALICE)

    with pytest.raises(NotFoundError):
        await store.save_feedback(made.id, [item.id, "msg_unknown"], "positive", ALICE)

    async with store.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM feedback")) == 0


async def test_taking_back_an_item_that_was_never_saved_is_nothing(store: SqlStore) -> None:
    """ChatKit removes items that were only streamed."""
    made = await saved_thread(store)

    await store.delete_thread_item(made.id, "msg_never", ALICE)


async def test_naive_times_are_local_and_come_back_in_utc(store: SqlStore) -> None:
    """ChatKit makes naive local times; the store gives aware ones, the same moment."""
    naive = datetime.now()
    made = thread(created_at=naive)
    await store.save_thread(made, ALICE)

    loaded = (await store.load_thread(made.id, ALICE)).created_at

    assert loaded.utcoffset() is not None
    assert loaded == naive.astimezone(UTC)


async def test_a_workflow_can_still_be_ended(store: SqlStore) -> None:
    """ChatKit subtracts a workflow's start from a naive now, and may have loaded it from the store."""
    made = await saved_thread(store)
    workflow = WorkflowItem(
        id=new_id("workflow"),
        thread_id=made.id,
        created_at=datetime.now(),
        workflow=Workflow(type="reasoning", tasks=[]),
    )
    await store.add_thread_item(made.id, workflow, ALICE)

    loaded = await store.load_item(made.id, workflow.id, ALICE)

    assert (datetime.now() - loaded.created_at).total_seconds() < 60


async def test_many_writers_at_once_lose_nothing(store: SqlStore) -> None:
    """Writers wait for each other, on SQLite too."""
    made = await saved_thread(store)

    await asyncio.gather(*(store.add_thread_item(made.id, message(made.id, str(n)), ALICE) for n in range(30)))

    assert len((await store.load_thread_items(made.id, None, 100, "asc", ALICE)).data) == 30


async def test_the_migrations_make_the_tables_we_use(engine: AsyncEngine) -> None:
    """A change in `tables` without a migration fails here."""

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    await migrate(engine)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_only_an_embedded_database_is_migrated_unasked(engine: AsyncEngine) -> None:
    """SQLite is made ready; PostgreSQL is refused with the command to run, and accepted after it."""
    if engine.dialect.name == "sqlite":
        await ensure_schema(engine)
        return
    with pytest.raises(SchemaUnknown, match="agent_backend migrate"):
        await ensure_schema(engine)

    await migrate(engine)
    await ensure_schema(engine)


async def test_a_schema_from_the_future_is_refused(engine: AsyncEngine) -> None:
    """An older version never writes to, or migrates, what a newer one made."""
    await migrate(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaUnknown, match="newer"):
        await ensure_schema(engine)


def test_ids_sort_and_cannot_be_guessed() -> None:
    """A later id sorts after an earlier one; 10,000 of one moment are all different."""
    made = [new_id("message") for _ in range(10_000)]

    assert len(set(made)) == len(made)
    assert [name[:16] for name in made] == sorted(name[:16] for name in made)
    assert len(made[0].removeprefix("msg_")) == 12 + 32
    assert known_revision() == "0004"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite:///agent.sqlite3", "sqlite+aiosqlite:///agent.sqlite3"),
        ("postgres://u:p@db/chat", "postgresql+asyncpg://u:p@db/chat"),
        ("postgresql://u:p@db:6432/chat", "postgresql+asyncpg://u:p@db:6432/chat"),
        ("postgresql://db/chat?sslmode=require", "postgresql+asyncpg://db/chat?ssl=require"),
    ],
)
def test_urls_work_as_people_write_them(text: str, expected: str) -> None:
    """The driver is ours to name."""
    assert database_url(text).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize("text", ["", "agent.sqlite3", "mysql://db/chat"])
def test_other_databases_are_refused(text: str) -> None:
    """What cannot work is refused before anything is tried."""
    with pytest.raises(ValueError, match=r"sqlite:///"):
        database_url(text)


async def test_what_a_user_wrote_is_in_no_database_error(engine: AsyncEngine) -> None:
    """Its text is logged; the values of a statement are the user's words."""
    await migrate(engine)
    with pytest.raises(DBAPIError) as refused:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere WHERE a = :a").bindparams(a="my secret"))

    assert "my secret" not in str(refused.value)


async def test_a_page_is_bounded_in_size_too(store: SqlStore) -> None:
    """A hundred messages as long as a request may be are a gigabyte in memory: pages end before, and none is lost."""
    one = thread()
    await store.save_thread(one, ALICE)
    long = [message(one.id, "x" * 1_000_000) for _ in range(10)]
    huge = message(one.id, "y" * (MAX_PAGE_SIZE + 1))
    for item in [*long, huge]:
        await store.add_thread_item(one.id, item, ALICE)

    found: list[str] = []
    sizes = []
    after, has_more = None, True
    while has_more:
        page = await store.load_thread_items(one.id, after, 100, "asc", ALICE)
        found += [item.id for item in page.data]
        sizes.append(len(page.data))
        after, has_more = page.after, page.has_more

    assert found == [item.id for item in [*long, huge]]
    assert sizes[0] < len(found)
    assert (await store.load_thread_items(one.id, None, 100, "desc", ALICE)).data[0].id == huge.id
