"""Long threads and many writers: the same statements, by index; pages that lose nothing and repeat nothing."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message
from chatkit.server import StreamingResult
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    InferenceOptions,
    Page,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
)
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from agent_backend.agent import build_agent
from agent_backend.models import build_run_config
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.ids import new_id
from agent_backend.store.schema import migrate
from agent_backend.store.tables import items
from tests.agent_backend.world import answer_in, context_for, events_in, url_of, user_input

ALICE = context_for("alice")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
Statement = tuple[str, Any]


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[Statement]]:
    """What the database is asked in the block, with its parameters."""
    seen: list[Statement] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


def commit_late(engine: AsyncEngine) -> None:
    """Between a row's number and its being seen there is time for others: now more than on an idle machine."""
    delays = cycle((0.02, 0.0, 0.005, 0.0))
    event.listen(engine.sync_engine, "commit", lambda connection: await_only(asyncio.sleep(next(delays))))


def item(thread_id: str, number: int) -> ThreadItem:
    common: dict[str, Any] = {"id": f"msg_{number:05}", "thread_id": thread_id, "created_at": NOW}
    if number % 2:
        return AssistantMessageItem(content=[AssistantMessageContent(text=f"Answer {number}.")], **common)
    content: Any = [{"type": "input_text", "text": f"Question {number}?"}]
    return UserMessageItem(content=content, inference_options=InferenceOptions(), **common)


async def thread_of_length(store: SqlStore, length: int) -> str:
    made = ThreadMetadata(id=new_id("thread"), created_at=NOW, title="Long")
    await store.save_thread(made, ALICE)
    rows = [item(made.id, number) for number in range(length)]
    async with store.engine.begin() as connection:
        values = [
            {"id": row.id, "thread_id": made.id, "created_at": NOW, "data": row.model_dump(mode="json")} for row in rows
        ]
        await connection.execute(insert(items), values)
        await connection.execute(text("ANALYZE"))
    return made.id


async def ask(server: AssistantServer, operation: str, **params: Any) -> list[dict[str, Any]]:
    request = json.dumps({"type": operation, "params": params})
    result = await server.process(request, replace(ALICE, notes={}))
    assert isinstance(result, StreamingResult)
    return events_in(b"".join([frame async for frame in result]))


async def test_a_thread_of_10000_items_costs_what_one_of_20_costs(engine: AsyncEngine) -> None:
    """A turn and a retry: the same statements, each of them bounded, and every row of them found by an index."""
    await migrate(engine)
    store = SqlStore(engine=engine)
    model = ScriptedModel([[assistant_message("Yes.")] for _ in range(4)])
    server = AssistantServer(
        store=store, build_agent=build_agent, model=model, run_config=build_run_config(export_traces=False)
    )
    asked: list[list[Statement]] = []
    for length in (20, 10_000):
        thread_id = await thread_of_length(store, length)
        with statements(engine) as seen:
            said = await ask(server, "threads.add_user_message", thread_id=thread_id, input=user_input("More?"))
            question = next(entry["item"]["id"] for entry in said if entry["type"] == "thread.item.done")
            again = await ask(server, "threads.retry_after_item", thread_id=thread_id, item_id=question)
        assert [answer_in(events) for events in (said, again)] == ["Yes.", "Yes."]
        asked.append(seen)

    short, long = ([shape(statement) for statement, _ in seen] for seen in asked)
    assert long == short
    assert len(long) < 50
    for statement, parameters in asked[1]:
        if "items" in statement:
            assert not SCAN.search(await plan(engine, statement, parameters)), statement


def shape(statement: str) -> str:
    """The statement without what differs in number only."""
    return re.sub(r"\s+", " ", statement)


SCAN = re.compile(r"SCAN items|Seq Scan on items")


async def plan(engine: AsyncEngine, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(" ".join(map(str, row)) for row in found)


Load = Callable[[SqlStore, str | None, str], Awaitable[Page[Any]]]


async def all_pages(load: Load, store: SqlStore, order: str) -> list[str]:
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await load(store, after, order)
        seen += [entry.id for entry in page.data]
        if not page.has_more:
            return seen
        after = page.after
        await asyncio.sleep(0)


@pytest.mark.parametrize("what", ["items", "threads"])
async def test_pages_lose_and_repeat_nothing_while_others_write(engine: AsyncEngine, what: str) -> None:
    """Many writers, in several processes' pools, and readers who page through: all that was there is seen once.

    PostgreSQL numbers rows when they are inserted and shows them when they are committed, which may be in another
    order: a reader would step over the one that is shown late.
    """
    await migrate(engine)
    stores = [SqlStore(engine=build_engine(url_of(engine), pool_size=4, pool_timeout=60)) for _ in range(2)]
    made = ThreadMetadata(id=new_id("thread"), created_at=NOW)
    await stores[0].save_thread(made, ALICE)
    for store in stores:
        commit_late(store.engine)
    reader = SqlStore(engine=engine)
    begun: list[str] = []

    async def write(number: int) -> None:
        store = stores[number % 2]
        if what == "items":
            entry: Any = item(made.id, number)
            await store.add_thread_item(made.id, entry, ALICE)
        else:
            entry = ThreadMetadata(id=new_id("thread"), created_at=NOW)
            await store.save_thread(entry, ALICE)
        begun.append(entry.id)

    async def load(store: SqlStore, after: str | None, order: str) -> Page[Any]:
        if what == "items":
            return await store.load_thread_items(made.id, after, 7, order, ALICE)
        return await store.load_threads(7, after, order, ALICE)

    async def read(order: str) -> None:
        while not writing.done():
            before = set(begun)
            seen = await all_pages(load, reader, order)
            assert len(seen) == len(set(seen))
            assert before <= set(seen)
            # Whatever is shown now, and was not then, came after it: a reader who goes on from here misses nothing.
            if order == "asc":
                later = await all_pages(load, reader, order)
                assert later[: len(seen)] == seen

    writing = asyncio.gather(*(write(number) for number in range(60)))
    await asyncio.gather(read("asc"), read("desc"), writing)
    everything = await all_pages(load, reader, "asc")
    for store in stores:
        await store.engine.dispose()

    assert len(everything) == 60 + (what == "threads")
