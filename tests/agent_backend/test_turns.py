"""One turn at a time in a thread, in one process and among several; and what may happen beside it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from chatkit.store import NotFoundError
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadMetadata
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from agent_backend.app import build_app
from agent_backend.store import Leases, SqlStore
from agent_backend.store.ids import new_id
from agent_backend.store.schema import migrate
from agent_backend.store.tables import turns
from tests.agent_backend.reader import reading
from tests.agent_backend.test_main import write_settings
from tests.agent_backend.world import (
    Caller,
    World,
    answer_in,
    context_for,
    running_app,
    thread_of,
    url_of,
    user_input,
)
from tests.support.gated import GatedModel

ALICE = context_for("alice")
ALICE_NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Replica:
    """One backend, and a user who asks it."""

    app: Starlette
    caller: Caller
    model: GatedModel


@asynccontextmanager
async def replica(world: World, engine: AsyncEngine, **tables: Any) -> AsyncIterator[Replica]:
    await migrate(engine)
    model = GatedModel()
    # Nobody waits, where a test does not ask for it.
    usual = {"database": {"url": url_of(engine)}, "titles": {"by_model": False}, "turns": {"wait": 0}}
    tables = {**usual, **tables}
    app = build_app(world.settings(**tables), model=model)
    async with running_app(app) as http:
        yield Replica(app=app, caller=Caller(gateway=world.gateway, http=http), model=model)


async def begun_thread(one: Replica) -> str:
    """A thread with one question and its answer."""
    one.model.allow(12)
    return thread_of(await one.caller.say("One"))


async def rows(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608


async def kinds(one: Replica, thread_id: str) -> list[str]:
    page = (await one.caller.send("items.list", thread_id=thread_id, order="asc")).json()
    return [item["type"] for item in page["data"]]


async def test_of_two_turns_one_runs_and_the_other_is_told(world: World, engine: AsyncEngine) -> None:
    """The second waits a little and is refused before its stream, in words for the user, here and elsewhere; nothing of
    it stays.
    """
    waiting = {"turns": {"wait": 0.1}}
    async with replica(world, engine, **waiting) as here, replica(world, engine, **waiting) as elsewhere:
        thread_id = await begun_thread(here)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        question = {"thread_id": thread_id, "item_id": await first_item(here, thread_id)}
        async with reading(here.app, here.caller, "threads.add_user_message", **message) as first:
            await here.model.until_asked(2)
            refused = [
                await one.caller.send(operation, **params)
                for one in (here, elsewhere)
                for operation, params in (("threads.add_user_message", message), ("threads.retry_after_item", question))
            ]
            during = await kinds(elsewhere, thread_id)
            here.model.allow(12)
        elsewhere.model.allow(12)
        last = await elsewhere.caller.say("Four", thread_id=thread_id)
        after = await kinds(here, thread_id)

    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(409, "thread_busy")] * 4
    assert "still being written" in refused[0].json()["message"]
    assert during == ["user_message", "assistant_message", "user_message"]
    assert answer_in(first.events).startswith("word0")
    assert answer_in(last).startswith("word0")
    assert after == ["user_message", "assistant_message"] * 3


async def first_item(one: Replica, thread_id: str) -> str:
    page = (await one.caller.send("items.list", thread_id=thread_id, order="asc")).json()
    return str(page["data"][0]["id"])


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_turn_waits_for_the_one_before_to_end(world: World, engine: AsyncEngine, where: str) -> None:
    """Whoever stops an answer and writes at once is answered, in this process and in another."""
    patient = {"turns": {"wait": 20}}
    async with replica(world, engine, **patient) as here, replica(world, engine, **patient) as elsewhere:
        one = {"here": here, "elsewhere": elsewhere}[where]
        thread_id = await begun_thread(here)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(here.app, here.caller, "threads.add_user_message", **message):
            await here.model.until_asked(2)
            async with reading(one.app, one.caller, "threads.add_user_message", **message) as second:
                await second.watched.wait()
                while_busy = second.status
                here.model.allow(12)
                one.model.allow(12)
        after = await kinds(here, thread_id)

    assert (while_busy, second.status) == (0, 200)
    assert answer_in(second.events).endswith("word11 ")
    assert after == ["user_message", "assistant_message"] * 3


async def test_who_leaves_while_waiting_is_noticed(
    world: World, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Long before the wait is over, and nothing of the message stays."""
    caplog.set_level("INFO")
    async with replica(world, engine, turns={"wait": 20}) as one:
        thread_id = await begun_thread(one)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(one.app, one.caller, "threads.add_user_message", **message):
            await one.model.until_asked(2)
            async with reading(one.app, one.caller, "threads.add_user_message", **message) as gone:
                await gone.watched.wait()
                gone.leave()
            one.model.allow(12)
        after = await kinds(one, thread_id)

    assert gone.status == 400
    assert "client_left" in [getattr(record, "fields", {}).get("code") for record in caplog.records]
    assert after == ["user_message", "assistant_message"] * 2


async def test_what_can_never_be_done_is_told_without_waiting(world: World, engine: AsyncEngine) -> None:
    """Somebody else's thread, or an item that is not there: 404 at once, however busy it is."""
    async with replica(world, engine, turns={"wait": 20}) as one:
        thread_id = await begun_thread(one)
        eve = Caller(gateway=world.gateway, http=one.caller.http, user="eve")
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(one.app, one.caller, "threads.add_user_message", **message), asyncio.timeout(10):
            await one.model.until_asked(2)
            refused = [
                await eve.send("threads.add_user_message", **message),
                await one.caller.send("threads.retry_after_item", thread_id=thread_id, item_id="msg_none"),
            ]
            one.model.allow(12)

    assert [answer.status_code for answer in refused] == [404, 404]


async def test_a_thread_deleted_while_its_next_turn_waits_is_not_there(world: World, engine: AsyncEngine) -> None:
    """And not "busy" for ever: the answer is the truth of that moment."""
    async with replica(world, engine, turns={"wait": 0.4}) as here, replica(world, engine) as elsewhere:
        thread_id = await begun_thread(here)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(here.app, here.caller, "threads.add_user_message", **message):
            await here.model.until_asked(2)
            async with reading(here.app, here.caller, "threads.add_user_message", **message) as refused:
                await refused.watched.wait()
                await elsewhere.caller.send("threads.delete", thread_id=thread_id)
            here.model.allow(12)

    assert (refused.status, b'"not_found"' in refused.seen) == (404, True)


async def test_a_thread_that_is_being_made_is_held_too(world: World, engine: AsyncEngine) -> None:
    """Whoever has read its id from the first event cannot get between its first question and its answer."""
    async with replica(world, engine) as one:
        async with reading(one.app, one.caller, "threads.create", input=user_input("One")) as first:
            await one.model.until_asked()
            message = {"thread_id": first.thread_id, "input": user_input("Two")}
            refused = await one.caller.send("threads.add_user_message", **message)
            one.model.allow(12)
        after = await kinds(one, first.thread_id)

    assert (refused.status_code, refused.json()["code"]) == (409, "thread_busy")
    assert after == ["user_message", "assistant_message"]


async def test_of_many_at_once_one_runs(world: World, engine: AsyncEngine) -> None:
    """However they race, exactly one has the thread."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        one.model.allow(100)
        asked = [
            one.caller.send("threads.add_user_message", thread_id=thread_id, input=user_input(str(number)))
            for number in range(8)
        ]
        answers = await asyncio.gather(*asked)
        after = await kinds(one, thread_id)

    ran = [answer for answer in answers if answer.status_code == 200]
    assert len(ran) >= 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert after == ["user_message", "assistant_message"] * (1 + len(ran))


ENDS = ["finished", "failed", "left", "left before the first word", "refused", "cut off"]


@pytest.mark.parametrize("end", ENDS)
async def test_a_thread_is_free_after_every_end(world: World, engine: AsyncEngine, end: str) -> None:
    """Nothing is held when the reader has seen the end, and the next turn runs."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        if end == "refused":
            answer = await one.caller.send("threads.retry_after_item", thread_id=thread_id, item_id="msg_none")
            assert answer.status_code == 404
        else:
            async with reading(
                one.app, one.caller, "threads.add_user_message", thread_id=thread_id, input=user_input("Two")
            ) as reader:
                await one.model.until_asked(2)
                await end_it(end, one, reader, engine)
        held = await rows(engine, "turns")
        one.model.allow(24)
        answer_to_next = answer_in(await one.caller.say("Next", thread_id=thread_id))

    assert held == 0
    assert answer_to_next.endswith("word11 ")


async def end_it(end: str, one: Replica, reader: Any, engine: AsyncEngine) -> None:
    match end:
        case "finished":
            one.model.allow(12)
        case "failed":
            one.model.fail()
        case "left":
            one.model.allow(3)
            await reader.until("word2")
            reader.leave()
        case "left before the first word":
            reader.leave()
        case "cut off":
            # A store that refuses in mid-answer: the thread is not this turn's any more.
            async with engine.begin() as connection:
                await connection.execute(turns.delete())
            one.model.allow(12)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_a_killed_process_frees_its_threads_within_the_lease(world: World, engine: AsyncEngine) -> None:
    """SIGKILL in mid-answer: refused while the lease lasts, answered after it, and no item in between."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        file = write_settings(world, database=url_of(engine), word_delay=5)
        file.write_text(file.read_text() + "\n[turns]\nlease = 2\n[titles]\nby_model = false\n")
        command = [sys.executable, "-m", "agent_backend", "serve", "--settings", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: ASYNC220
            assert child.stdout is not None
            line = await asyncio.to_thread(child.stdout.readline)
            base_url = line.split(" ready on ")[1].split("/chatkit")[0]
            async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
                doomed = Caller(gateway=world.gateway, http=http)
                asking = asyncio.create_task(doomed.say("Two", thread_id=thread_id))
                while await rows(engine, "items") < 3:  # noqa: ASYNC110  another process: nothing to wait for
                    await asyncio.sleep(0.02)
                child.send_signal(signal.SIGKILL)
                await asyncio.to_thread(child.wait)
                with pytest.raises(httpx.HTTPError):
                    await asking
        one.model.allow(12)
        message = {"thread_id": thread_id, "input": user_input("Three")}
        statuses = [(await one.caller.send("threads.add_user_message", **message)).status_code]
        async with asyncio.timeout(10):
            while statuses[-1] == 409:
                await asyncio.sleep(0.1)
                statuses.append((await one.caller.send("threads.add_user_message", **message)).status_code)
        after = await kinds(one, thread_id)

    assert (statuses[0], statuses[-1]) == (409, 200)
    assert after == ["user_message", "assistant_message", "user_message", "user_message", "assistant_message"]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_deleting_a_thread_ends_its_turn(world: World, engine: AsyncEngine, where: str) -> None:
    """It is its owner's to delete at any time: the model stops, the stream says why, and no item is left behind."""
    async with replica(world, engine) as here, replica(world, engine) as elsewhere:
        thread_id = await begun_thread(here)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(here.app, here.caller, "threads.add_user_message", **message) as first:
            here.model.allow(3)
            await first.until("word2")
            deleted = await {"here": here, "elsewhere": elsewhere}[where].caller.send(
                "threads.delete", thread_id=thread_id
            )
            if where == "elsewhere":
                here.model.allow(9)
        left = [await rows(engine, table) for table in ("threads", "items", "turns")]

    assert deleted.status_code == 200
    assert [event for event in first.events if event["type"] == "error"] == [
        {
            "type": "error",
            "code": "custom",
            "message": "This conversation was deleted, or goes on elsewhere.",
            "allow_retry": False,
        }
    ]
    assert here.model.spoken <= 12 + (3 if where == "here" else 12)
    assert left == [0, 0, 0]


async def test_a_turn_waits_for_no_reader_of_its_thread(world: World, engine: AsyncEngine) -> None:
    """Names, feedback and pages are asked for and kept while an answer is being written."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        item_id = await first_item(one, thread_id)
        message = {"thread_id": thread_id, "input": user_input("Two")}
        async with reading(one.app, one.caller, "threads.add_user_message", **message):
            await one.model.until_asked(2)
            beside = [
                await one.caller.send("threads.update", thread_id=thread_id, title="Mine"),
                await one.caller.send("items.feedback", thread_id=thread_id, item_ids=[item_id], kind="positive"),
                await one.caller.send("threads.get_by_id", thread_id=thread_id),
            ]
            one.model.allow(12)
        after = await one.caller.send("threads.get_by_id", thread_id=thread_id)

    assert [answer.status_code for answer in beside] == [200, 200, 200]
    assert after.json()["title"] == "Mine"


async def test_who_slept_through_the_lease_can_write_no_more(engine: AsyncEngine) -> None:
    """Another turn has begun meanwhile: the old one's items are refused, and it is told at the next renewal."""
    await migrate(engine)
    store = SqlStore(engine=engine)
    made = ThreadMetadata(id=new_id("thread"), created_at=ALICE_NOW)
    await store.save_thread(made, ALICE)
    ours, theirs = Leases(engine=engine), Leases(engine=engine)
    slept, awake = ours.build(), theirs.build()
    told: list[bool] = []
    slept.on_lost = lambda: told.append(True)

    assert await slept.take(made.id, ALICE)
    assert not await awake.take(made.id, ALICE)
    await ours.renew()
    assert not told
    async with engine.begin() as connection:
        await connection.execute(update(turns).values(ends_at=0.0))
    assert await awake.take(made.id, ALICE)
    await ours.renew()

    assert (told, slept.is_lost, await slept.is_held(), await awake.is_held()) == ([True], True, False, True)
    item = AssistantMessageItem(
        id="msg_1", thread_id=made.id, created_at=ALICE_NOW, content=[AssistantMessageContent(text="late")]
    )
    late = replace(ALICE, lease=slept.holder)
    for write in (store.add_thread_item, store.save_item):
        with pytest.raises(NotFoundError):
            await write(made.id, item, late)
    await store.add_thread_item(made.id, item, replace(ALICE, lease=awake.holder))
    await store.delete_thread_item(made.id, item.id, late)
    await store.delete_items_after(made.id, item.id, late)
    assert await store.load_item(made.id, item.id, ALICE) == item
    await slept.release()
    assert await awake.is_held()
    await awake.release()
    await awake.release()


async def test_a_lease_is_renewed_while_the_turn_runs(engine: AsyncEngine) -> None:
    """It ends later and later, by the database's own clock, until it is let go."""
    await migrate(engine)
    store = SqlStore(engine=engine)
    made = ThreadMetadata(id=new_id("thread"), created_at=ALICE_NOW)
    await store.save_thread(made, ALICE)
    lease = Leases(engine=engine, seconds=0.3).build()
    before = asyncio.all_tasks()

    await lease.take(made.id, ALICE)
    ends = [await end_of(engine)]
    async with asyncio.timeout(5):
        while ends[-1] == ends[0]:
            await asyncio.sleep(0.02)
            ends.append(await end_of(engine))
    await lease.release()

    assert ends[-1] > ends[0]
    assert await rows(engine, "turns") == 0
    assert asyncio.all_tasks() <= before


async def test_a_turn_may_end_in_the_middle_of_a_renewal(engine: AsyncEngine) -> None:
    """At whatever moment it comes: the thread is free at once, and the database takes the next write."""
    await migrate(engine)
    made = ThreadMetadata(id=new_id("thread"), created_at=ALICE_NOW)
    await SqlStore(engine=engine).save_thread(made, ALICE)
    # Renewed every millisecond, so that many of the ends fall into a renewal.
    left = []
    for moment in range(20):
        leases = Leases(engine=engine, seconds=0.003)
        lease = leases.build()
        assert await lease.take(made.id, ALICE)
        await asyncio.sleep(0.001 + moment * 0.0002)
        await lease.release()
        left.append(await rows(engine, "turns"))

    assert left == [0] * 20


async def end_of(engine: AsyncEngine) -> float:
    async with engine.connect() as connection:
        return float((await connection.execute(select(turns.c.ends_at))).scalar_one())


@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_a_locked_or_closed_thread_takes_no_turn_and_stays_its_owners(
    world: World, engine: AsyncEngine, status: str
) -> None:
    """New turns are refused in words; it can be read, named, rated and deleted."""
    async with replica(world, engine) as one:
        thread_id = await begun_thread(one)
        item_id = await first_item(one, thread_id)
        async with engine.begin() as connection:
            await connection.execute(text(LOCK[engine.dialect.name]).bindparams(status=f'{{"type": "{status}"}}'))
        action = {"type": "x", "payload": {}}
        refused = [
            await one.caller.send("threads.add_user_message", thread_id=thread_id, input=user_input("Two")),
            await one.caller.send("threads.retry_after_item", thread_id=thread_id, item_id=item_id),
            await one.caller.send("threads.add_client_tool_output", thread_id=thread_id, result=1),
            await one.caller.send("threads.custom_action", thread_id=thread_id, action=action),
            await one.caller.send("threads.sync_custom_action", thread_id=thread_id, action=action),
        ]
        allowed = [
            await one.caller.send("threads.update", thread_id=thread_id, title="Mine"),
            await one.caller.send("items.feedback", thread_id=thread_id, item_ids=[item_id], kind="negative"),
            await one.caller.send("threads.get_by_id", thread_id=thread_id),
            await one.caller.send("threads.delete", thread_id=thread_id),
        ]

    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(409, f"thread_{status}")}
    assert status in refused[0].json()["message"]
    assert [answer.status_code for answer in allowed] == [200] * 4
    assert allowed[2].json()["status"]["type"] == status


LOCK = {
    "sqlite": "UPDATE threads SET data = json_set(data, '$.status', json(:status))",
    "postgresql": "UPDATE threads SET data = jsonb_set(data::jsonb, '{status}', CAST(:status AS jsonb))::json",
}
