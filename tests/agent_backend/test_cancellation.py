"""A reader who leaves: counted at the model, kept in the store, and nothing left behind; on both databases."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from chatkit.types import ThreadItem
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from agent_backend.agent import build_agent
from agent_backend.context import RequestContext
from agent_backend.models import build_run_config
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore
from agent_backend.store.schema import migrate
from agent_backend.stream import DrivenStream
from tests.agent_backend.reader import reading
from tests.agent_backend.test_turns import Replica, begun_thread, kinds, replica, rows
from tests.agent_backend.world import World, answer_in, context_for, user_input
from tests.support.gated import GatedModel

ALICE = context_for("alice")
# Seconds that a word takes: a fast model's.
PACE = 0.02


async def settled(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """The tasks beyond those, once what is ending has ended."""
    for _ in range(20):
        await asyncio.sleep(0)
    gc.collect()
    return asyncio.all_tasks() - tasks


async def messages(one: Replica, thread_id: str) -> list[dict[str, Any]]:
    page = (await one.caller.send("items.list", thread_id=thread_id, order="asc")).json()
    return list(page["data"])


@pytest.fixture
async def one(world: World, engine: AsyncEngine) -> AsyncIterator[Replica]:
    async with replica(world, engine) as made:
        yield made


async def test_a_stop_in_mid_answer_stops_the_model_and_keeps_what_was_said(one: Replica) -> None:
    """At most one more word is spoken, though the model may say a hundred; the thread goes on from there."""
    await one.caller.send("threads.list")
    before = asyncio.all_tasks()
    async with reading(one.app, one.caller, "threads.create", input=user_input("Tell me.")) as reader:
        one.model.allow(3)
        await reader.until("word2")
        one.model.pace = PACE
        reader.leave()
        one.model.allow(100)
    spoken, one.model.pace = one.model.spoken, 0.0
    left = await settled(before)
    kept = await messages(one, reader.thread_id)
    next_answer = answer_in(await one.caller.say("And now?", thread_id=reader.thread_id))

    assert spoken <= 4
    assert left == set()
    assert [item["type"] for item in kept] == ["user_message", "assistant_message"]
    assert kept[1]["content"][0]["text"] in ("word0 word1 word2 ", "word0 word1 word2 word3 ")
    assert next_answer.endswith("word11 ")
    assert await kinds(one, reader.thread_id) == ["user_message", "assistant_message"] * 2


async def test_who_leaves_before_the_first_word_costs_one_at_most(one: Replica) -> None:
    """The model has been asked and has said nothing; the question is kept, and can be answered later."""
    await one.caller.send("threads.list")
    before = asyncio.all_tasks()
    async with reading(one.app, one.caller, "threads.create", input=user_input("Tell me.")) as reader:
        await one.model.until_asked()
        one.model.pace = PACE
        reader.leave()
        one.model.allow(100)
    spoken, one.model.pace = one.model.spoken, 0.0
    left = await settled(before)
    kept = await kinds(one, reader.thread_id)
    question = (await messages(one, reader.thread_id))[0]["id"]
    retried = await one.caller.stream("threads.retry_after_item", thread_id=reader.thread_id, item_id=question)

    assert (spoken <= 1, left, kept) == (True, set(), ["user_message"])
    assert answer_in(retried).endswith("word11 ")


async def test_who_leaves_at_once_never_reaches_the_model(one: Replica, engine: AsyncEngine) -> None:
    """Gone before the stream's first step: nothing is stored, nothing held, nothing asked."""
    thread_id = await begun_thread(one)
    message = {"thread_id": thread_id, "input": user_input("Never mind.")}
    async with reading(one.app, one.caller, "threads.add_user_message", **message) as reader:
        reader.leave()

    assert await rows(engine, "turns") == 0
    assert (await kinds(one, thread_id))[:2] == ["user_message", "assistant_message"]
    one.model.allow(12)
    assert answer_in(await one.caller.say("Again.", thread_id=thread_id)).endswith("word11 ")


def connections_out(engine: AsyncEngine) -> int:
    pool = engine.pool
    assert isinstance(pool, AsyncAdaptedQueuePool)
    return pool.checkedout()


class SlowStore(SqlStore):
    """Waits in the middle of writing one kind of item, after its row was written."""

    kind = ""

    def __init__(self, *, engine: AsyncEngine) -> None:
        super().__init__(engine=engine)
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def _add_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await super()._add_item(thread_id, item, context)
        if item.type == self.kind:
            self.reached.set()
            await self.go.wait()


def build_server(store: SqlStore, model: GatedModel) -> AssistantServer:
    return AssistantServer(
        store=store, build_agent=build_agent, model=model, run_config=build_run_config(export_traces=False)
    )


async def begin(server: AssistantServer) -> DrivenStream:
    request = f'{{"type": "threads.create", "params": {{"input": {MESSAGE}}}}}'
    stream = await server.process(request, ALICE)
    assert isinstance(stream, DrivenStream)
    return stream


MESSAGE = '{"content": [{"type": "input_text", "text": "Hi"}], "attachments": [], "inference_options": {}}'


@pytest.mark.parametrize("kind", ["user_message", "assistant_message"])
async def test_a_write_that_has_begun_is_finished(engine: AsyncEngine, kind: str) -> None:
    """Cancelled while the store writes: the item is there once and whole, and the stream ends after that."""
    await migrate(engine)
    store = SlowStore(engine=engine)
    store.kind = kind
    model = GatedModel(words=3)
    model.allow(3)
    before = asyncio.all_tasks()
    stream = await begin(build_server(store, model))
    await asyncio.wait_for(store.reached.wait(), 10)
    ending = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0.01)
    assert not ending.done()
    store.go.set()
    await ending
    left = await settled(before)

    thread = (await store.load_threads(9, None, "desc", ALICE)).data[0]
    kept = (await store.load_thread_items(thread.id, None, 9, "asc", ALICE)).data
    shown = [item.type for item in kept if item.type != "sdk_hidden_context"]
    assert shown == (["user_message"] if kind == "user_message" else ["user_message", "assistant_message"])
    assert left == set()
    assert connections_out(engine) == 0
    assert await rows(engine, "turns") == 0


@pytest.mark.parametrize("way", ["aclose", "break", "cancel", "drop"])
async def test_however_a_reader_stops_it_comes_to_the_same(engine: AsyncEngine, way: str) -> None:
    """Closed, left by a break, cancelled, or simply dropped: ChatKit's own stream saves the answer for one of these."""
    await migrate(engine)
    store, model = SqlStore(engine=engine), GatedModel()
    model.allow(3)
    before = asyncio.all_tasks()
    stream = await begin(build_server(store, model))
    driver = stream.start()

    async def read() -> None:
        async for frame in stream:
            if b"word2" in frame:
                if way == "cancel":
                    reading_task.cancel()
                    await asyncio.sleep(0)
                return

    if way == "aclose":
        async with aclosing(aiter(stream)) as frames:  # type: ignore[type-var]  # an async generator, typed as iterator
            async for frame in frames:
                if b"word2" in frame:
                    break
    else:
        reading_task = asyncio.create_task(read())
        await asyncio.wait([reading_task])
        del reading_task
        if way != "drop":
            await stream.aclose()
    gc.collect()
    await asyncio.wait([driver], timeout=5)
    model.allow(100)
    left = await settled(before)

    thread = (await store.load_threads(9, None, "desc", ALICE)).data[0]
    kept = (await store.load_thread_items(thread.id, None, 9, "asc", ALICE)).data
    assert model.spoken <= 4
    assert [item.type for item in kept] == ["user_message", "assistant_message", "sdk_hidden_context"]
    assert left - {driver} == set()
    assert connections_out(engine) == 0
    assert await rows(engine, "turns") == 0
