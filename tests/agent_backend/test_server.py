"""AssistantServer: refused before a stream begins, or exactly one error event in it."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents import Model
from agents.testing import ScriptedModel, assistant_message
from chatkit.server import StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    ClientToolCallItem,
    LockedStatus,
    ThreadItem,
)

from agent_backend.agent import build_agent
from agent_backend.context import PageContext, RequestContext
from agent_backend.models import build_run_config
from agent_backend.problems import Problem
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate
from tests.agent_backend.world import answer_in, context_for, events_in, thread_of, user_input

ALICE = context_for("alice", page=PageContext(title="Pricing"))


class BrokenStore(SqlStore):
    """Fails, or takes for ever, where it is told to."""

    broken = ""
    slow: asyncio.Event | None = None

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        if self.slow is not None:
            self.slow.set()
            await asyncio.sleep(60)
        if item.type == self.broken:
            raise OSError("disk full")
        await super().add_thread_item(thread_id, item, context)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BrokenStore]:
    engine = build_engine(f"sqlite:///{tmp_path}/agent.sqlite3")
    await migrate(engine)
    yield BrokenStore(engine=engine)
    await engine.dispose()


def build_server(store: SqlStore, model: Model | None = None, **options: Any) -> AssistantServer:
    model = model or ScriptedModel([[assistant_message(f"Answer {number}.")] for number in range(1, 9)])
    return AssistantServer(
        store=store, build_agent=build_agent, model=model, run_config=build_run_config(export_traces=False), **options
    )


async def ask(server: AssistantServer, operation: str, *, who: RequestContext = ALICE, **params: Any) -> Any:
    """The events of a stream, or the JSON of an answer."""
    result = await server.process(json.dumps({"type": operation, "params": params}), who)
    if isinstance(result, StreamingResult):
        return events_in(b"".join([frame async for frame in result]))
    return json.loads(result.json)


async def say(server: AssistantServer, text: str, thread_id: str | None = None) -> list[dict[str, Any]]:
    kind = "threads.add_user_message" if thread_id else "threads.create"
    params: dict[str, Any] = {"thread_id": thread_id} if thread_id else {}
    events: list[dict[str, Any]] = await ask(server, kind, input=user_input(text), **params)
    return events


def texts(call: Any) -> list[str]:
    """What one call to the model was given, one text per message."""
    contents = [item["content"] for item in call.input]
    return [content if isinstance(content, str) else content[0]["text"] for content in contents]


async def test_the_third_turn_holds_the_first_two(store: SqlStore) -> None:
    """The model is given both sides of what was said, oldest first, with the page before the latest message."""
    model = ScriptedModel([[assistant_message(f"Answer {number}.")] for number in (1, 2, 3)])
    server = build_server(store, model)
    thread_id = thread_of(await say(server, "One"))
    await say(server, "Two", thread_id)
    await say(server, "Three", thread_id)

    given = texts(model.calls[2])

    assert given[:4] == ["One", "Answer 1.", "Two", "Answer 2."]
    assert "Pricing" in given[4]
    assert given[5:] == ["Three"]
    assert '- name: "Alice"' in str(model.calls[2].system_instructions)
    assert "Pricing" not in str(model.calls[2].system_instructions)


async def test_the_history_is_the_newest_n(store: SqlStore) -> None:
    """A long thread costs the model no more than a short one."""
    model = ScriptedModel([[assistant_message(f"Answer {number}.")] for number in range(9)])
    server = build_server(store, model, max_items=3)
    thread_id = thread_of(await say(server, "One"))
    for text in ("Two", "Three"):
        await say(server, text, thread_id)

    assert [text for text in texts(model.calls[2]) if "page_context" not in text] == ["Two", "Answer 1.", "Three"]


async def test_a_thread_is_named_after_its_first_message(store: SqlStore) -> None:
    """The list of conversations can be read."""
    events = await say(build_server(store), "How much\n is   it?")

    assert [event["thread"]["title"] for event in events if event["type"] == "thread.updated"] == ["How much is it?"]


UNKNOWN: dict[str, tuple[int, dict[str, Any]]] = {
    "threads.get_by_id": (404, {"thread_id": "thr_x"}),
    "threads.add_user_message": (404, {"thread_id": "thr_x", "input": user_input("Hi")}),
    "threads.retry_after_item": (404, {"thread_id": "thr_x", "item_id": "msg_x"}),
    "threads.add_structured_input": (404, {"thread_id": "thr_x", "item_id": "msg_x", "input": {}}),
    "threads.create": (404, {"input": user_input("Hi", attachments=["atc_x"])}),
    "attachments.create": (400, {"name": "a", "size": 1, "mime_type": "text/plain"}),
    "attachments.delete": (404, {"attachment_id": "atc_x"}),
    "input.transcribe": (400, {"audio_base64": "!", "mime_type": "audio/webm"}),
    "threads.nonsense": (400, {}),
    "items.list": (400, {"thread_id": 7}),
    "items.feedback": (400, {"thread_id": "thr_x", "item_ids": ["x"] * 101, "kind": "positive"}),
}


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_what_cannot_be_done_is_refused_before_a_stream(store: SqlStore, kind: str) -> None:
    """A 4xx with a message, never a broken stream or a 500 that ChatKit would repeat; and nothing is left behind."""
    status, params = UNKNOWN[kind]

    with pytest.raises(Problem) as refused:
        await ask(build_server(store), kind, **params)

    assert refused.value.status == status
    assert (await store.load_threads(9, None, "desc", ALICE)).data == []


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"type": "threads.list"}', '{"params": {}}'])
async def test_a_body_that_is_no_request_is_400(store: SqlStore, body: str) -> None:
    """And what was in it is not repeated."""
    with pytest.raises(Problem) as refused:
        await build_server(store).process(body, ALICE)

    assert (refused.value.status, refused.value.code) == (400, "invalid_request")


async def test_an_unknown_item_cannot_be_retried(store: SqlStore) -> None:
    """ChatKit streams nothing at all; and an answer is not a question."""
    server = build_server(store)
    events = await say(server, "One")
    answer = next(e["item"]["id"] for e in events if e.get("item", {}).get("type") == "assistant_message")

    for item_id in ("msg_unknown", answer):
        with pytest.raises(Problem) as refused:
            await ask(server, "threads.retry_after_item", thread_id=thread_of(events), item_id=item_id)
        assert refused.value.status == 404


async def test_a_retry_replaces_the_answer(store: SqlStore) -> None:
    """The old answer goes, the question stays, a new answer comes."""
    server = build_server(store)
    events = await say(server, "One")
    question = next(e["item"]["id"] for e in events if e["type"] == "thread.item.done")

    retried = await ask(server, "threads.retry_after_item", thread_id=thread_of(events), item_id=question)

    assert answer_in(retried) == "Answer 2."
    page = await store.load_thread_items(thread_of(events), None, 9, "asc", ALICE)
    assert [item.type for item in page.data] == ["user_message", "assistant_message"]


async def test_a_locked_thread_takes_no_message(store: SqlStore) -> None:
    """ChatKitServer keeps the status and enforces it nowhere."""
    server = build_server(store)
    thread_id = thread_of(await say(server, "One"))
    thread = await store.load_thread(thread_id, ALICE)
    thread.status = LockedStatus()
    await store.save_thread(thread, ALICE)

    with pytest.raises(Problem) as refused:
        await say(server, "Two", thread_id)

    assert refused.value.status == 409


async def test_a_turn_without_a_message_is_answered(store: SqlStore) -> None:
    """After a tool's output nobody has spoken, and the model goes on."""
    server = build_server(store)
    thread_id = thread_of(await say(server, "One"))
    thread = await store.load_thread(thread_id, ALICE)
    with pytest.raises(Problem) as refused:
        await ask(server, "threads.add_client_tool_output", thread_id=thread_id, result=1)
    assert refused.value.status == 409
    call = ClientToolCallItem(
        id="tc_1", thread_id=thread_id, created_at=thread.created_at, call_id="c1", name="t", arguments={}
    )
    await store.add_thread_item(thread_id, call, ALICE)

    events = await ask(server, "threads.add_client_tool_output", thread_id=thread_id, result={"ok": True})

    assert answer_in(events) == "Answer 2."


@pytest.mark.parametrize("broken", ["user_message", "assistant_message"])
async def test_a_failure_in_mid_stream_is_one_error_event(store: BrokenStore, broken: str) -> None:
    """The client reads exactly one, in words, and is offered a retry where there is something to retry."""
    store.broken = broken

    events = await say(build_server(store), "One")

    errors = [event for event in events if event["type"] == "error"]
    kept = (await store.load_threads(9, None, "desc", ALICE)).data
    assert len(errors) == 1
    assert errors[0]["message"] == "Something went wrong on our side. Please try again."
    # Without its first message a thread would stay empty for ever: it is taken back.
    is_stored = broken == "assistant_message"
    assert (errors[0]["allow_retry"], len(kept)) == (is_stored, int(is_stored))


async def test_a_model_that_fails_is_one_error_event(store: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
    """What it says about itself stays with us, and no task of the failed run is left waiting for ever."""
    before = asyncio.all_tasks()
    events = await say(build_server(store, ScriptedModel([RuntimeError("secret detail")])), "One")
    await asyncio.sleep(0.05)
    gc.collect()

    assert asyncio.all_tasks() <= before
    assert [record for record in caplog.records if record.name == "asyncio"] == []

    assert [event["type"] for event in events].count("error") == 1
    assert "secret detail" not in json.dumps(events)


async def test_feedback_is_kept_for_ones_own_items_only(store: SqlStore) -> None:
    """ChatKit itself never asks whose they are."""
    server = build_server(store)
    events = await say(server, "One")
    item_id = next(e["item"]["id"] for e in events if e.get("item", {}).get("type") == "assistant_message")
    params: dict[str, Any] = {"thread_id": thread_of(events), "item_ids": [item_id], "kind": "positive"}

    assert await ask(server, "items.feedback", **params) == {}
    with pytest.raises(Problem) as refused:
        await ask(server, "items.feedback", who=context_for("mallory"), **params)

    assert refused.value.status == 404


async def test_what_a_request_was_is_noted(store: SqlStore) -> None:
    """Operation, thread and size of the model's input, for the one log line."""
    context = context_for("alice")
    result = await build_server(store).process(
        json.dumps({"type": "threads.create", "params": {"input": user_input("Hi")}}), context
    )
    assert isinstance(result, StreamingResult)
    events = events_in(b"".join([frame async for frame in result]))

    assert context.notes == {
        "operation": "threads.create",
        "thread_id": thread_of(events),
        "items": 1,
        "tokens_in": 0,
        "tokens_out": 0,
        "usage": "partial",
    }


async def test_a_deleted_thread_is_gone(store: SqlStore) -> None:
    """For its owner too, and a second time is 404."""
    server = build_server(store)
    thread_id = thread_of(await say(server, "One"))

    assert await ask(server, "threads.delete", thread_id=thread_id) == {}
    with pytest.raises(NotFoundError):
        await store.load_thread(thread_id, ALICE)
    with pytest.raises(Problem):
        await ask(server, "threads.delete", thread_id=thread_id)


async def test_a_client_who_leaves_at_once_leaves_no_empty_thread(store: BrokenStore) -> None:
    """Cancelled before its first message was stored, a thread is taken back."""
    store.slow = asyncio.Event()
    reading = asyncio.create_task(say(build_server(store), "One"))
    await store.slow.wait()
    assert len((await store.load_threads(9, None, "desc", ALICE)).data) == 1

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert (await store.load_threads(9, None, "desc", ALICE)).data == []
