"""CHATKIT.md's numbered faults of ChatKitServer, each twice: it is there, and it is not in ours.

The first of each pair is about openai-chatkit as installed: when it fails, an upgrade has mended the fault, and what
ours does about it can go. The second is short where another file shows it in depth; that file is named.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner
from agents.models.chatcmpl_helpers import HEADERS_OVERRIDE
from agents.testing import ScriptedModel, assistant_message
from chatkit.agents import AgentContext, simple_to_agent_input, stream_agent_response
from chatkit.server import StreamingResult, agents_sdk_user_agent_override
from chatkit.store import NotFoundError
from chatkit.types import (
    CustomTask,
    FileAttachment,
    HiddenContextItem,
    LockedStatus,
    ThreadMetadata,
    UserMessageTagContent,
    UserMessageTextContent,
    Workflow,
)
from pydantic import ValidationError

from agent_backend.history import build_input
from agent_backend.models import ModelChoice, build_model
from agent_backend.offline_model import OfflineModel, events_of, message_of
from agent_backend.problems import Problem
from agent_backend.store.ids import new_id
from agent_backend.store.queries import MAX_PAGE
from tests.agent_backend.assistant import talk
from tests.agent_backend.plain import PlainBytes, PlainServer, PlainStore
from tests.agent_backend.thread_items import called, said
from tests.agent_backend.world import answer_in, thread_of, user_input
from tests.support.model_server import model_server

# As many words as a long answer has; a run that is not stopped says them all.
LONG = " ".join(str(number) for number in range(400))


def answers(*texts: str) -> ScriptedModel:
    return ScriptedModel([[assistant_message(text)] for text in texts or ("One.", "Two.", "Three.", "Four.")])


def plain(*, delay: float | None = None, **options: Any) -> PlainServer:
    return PlainServer(PlainStore(delay=delay), **{"model": answers(), **options})


# 1. An exception before `_process_events` breaks a stream that has already answered 200.


async def test_1_plain_a_stream_breaks_without_an_error_event() -> None:
    """An unknown thread, or an attachment: no event at all, and of the second an orphan thread stays behind."""
    server = plain()
    for operation, params in (
        ("threads.add_user_message", {"thread_id": "thr_x", "input": user_input("Hi")}),
        ("threads.add_structured_input", {"thread_id": "thr_x", "item_id": "x", "input": {"status": "skipped"}}),
        ("threads.create", {"input": user_input("Hi", attachments=["atc_x"])}),
    ):
        result = await server.process(json.dumps({"type": operation, "params": params}), "alice")
        assert isinstance(result, StreamingResult)
        frames: list[bytes] = []
        with pytest.raises((NotFoundError, ValidationError)):
            frames += [frame async for frame in result]
        assert not any(b'"error"' in frame for frame in frames)

    assert len(server.plain.threads) == 1


async def test_1_ours_refuses_before_the_stream_and_leaves_nothing(tmp_path: Path) -> None:
    """404 as JSON, and no thread. In depth: test_server, test_preconditions."""
    async with talk(tmp_path) as alice:
        for operation, params in (
            ("threads.add_user_message", {"thread_id": "thr_x", "input": user_input("Hi")}),
            ("threads.create", {"input": user_input("Hi", attachments=["atc_x"])}),
        ):
            with pytest.raises(Problem) as refused:
                await alice.ask(operation, **params)
            assert refused.value.status == 404

        assert (await alice.ask("threads.list"))["data"] == []


# 2. A retry of an unknown item streams nothing; a missing thing, or a body that does not validate, is an exception.


async def test_2_plain_what_is_missing_is_silence_or_an_exception() -> None:
    """Which a web framework answers with 500, and ChatKit repeats five times."""
    server = plain()
    thread_id = thread_of(await server.ask("threads.create", input=user_input("Hi")))

    assert await server.ask("threads.retry_after_item", thread_id=thread_id, item_id="msg_x") == []
    with pytest.raises(NotFoundError):
        await server.ask("threads.get_by_id", thread_id="thr_x")
    with pytest.raises(ValidationError):
        await server.ask("threads.get_by_id")


async def test_2_ours_what_is_missing_is_404_and_a_wrong_body_400(tmp_path: Path) -> None:
    """In depth: test_server."""
    async with talk(tmp_path) as alice:
        await alice.say("Hi")
        codes = []
        for operation, params in (
            ("threads.retry_after_item", {"thread_id": alice.thread_id, "item_id": "msg_x"}),
            ("threads.get_by_id", {"thread_id": "thr_x"}),
            ("threads.get_by_id", {}),
        ):
            with pytest.raises(Problem) as refused:
                await alice.ask(operation, **params)
            codes.append(refused.value.status)

    assert codes == [404, 404, 400]


# 3. Ownership is checked nowhere; locked threads are not enforced.


async def test_3_plain_nobody_asks_whose_it_is() -> None:
    """Feedback never asks the store, deleting does not look first, and an attachment's bytes go before the check."""
    files = PlainBytes()
    server = plain(attachments=files)
    thread_id = thread_of(await server.ask("threads.create", input=user_input("Hi")))
    server.plain.asked.clear()

    await server.ask("items.feedback", who="mallory", thread_id=thread_id, item_ids=["x"], kind="positive")
    assert server.plain.asked == []
    with pytest.raises(NotFoundError):
        await server.ask("attachments.delete", who="mallory", attachment_id="atc_of_alice")
    assert files.deleted == ["atc_of_alice"]
    server.plain.asked.clear()
    await server.ask("items.list", who="mallory", thread_id=thread_id)
    await server.ask("threads.delete", who="mallory", thread_id=thread_id)
    assert server.plain.asked == ["load_thread_items", "delete_thread"]


async def test_3_plain_a_locked_thread_is_answered_in() -> None:
    """The status is kept, and decides nothing."""
    server = plain()
    thread_id = thread_of(await server.ask("threads.create", input=user_input("Hi")))
    server.plain.threads[thread_id].status = LockedStatus()

    events = await server.ask("threads.add_user_message", thread_id=thread_id, input=user_input("Again"))

    assert answer_in(events) == "Two."


async def test_3_ours_asks_on_every_operation(tmp_path: Path) -> None:
    """Another's is 404, locked is 409. In depth: the table of operations in the tests of ownership."""
    async with talk(tmp_path) as alice:
        await alice.say("Hi")
        mallory = alice.as_user("mallory")
        for operation, params in (
            ("items.feedback", {"item_ids": [(await alice.items())[0].id], "kind": "positive"}),
            ("items.list", {}),
            ("threads.delete", {}),
        ):
            with pytest.raises(Problem) as refused:
                await mallory.here(operation, **params)
            assert refused.value.status == 404
        thread = await alice.store.load_thread(str(alice.thread_id), alice.context)
        thread.status = LockedStatus()
        await alice.store.save_thread(thread, alice.context)
        with pytest.raises(Problem) as refused:
            await alice.say("Again")

    assert refused.value.status == 409


# 4. Ids of 32 bits; naive local times on the wire, while aware ones break `end_workflow`.


async def test_4_plain_ids_are_short_and_times_have_no_offset() -> None:
    """One collision in a hundred at 9,300 items; a browser reads the server's local time as its own."""
    server = plain()
    events = await server.ask("threads.create", input=user_input("Hi"))

    assert re.fullmatch(r"thr_[0-9a-f]{8}", thread_of(events))
    assert datetime.fromisoformat(events[0]["thread"]["created_at"]).tzinfo is None


async def test_4_plain_an_aware_time_breaks_the_end_of_a_workflow() -> None:
    """The obvious remedy of the above fails elsewhere."""
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    run = AgentContext[str](thread=thread, store=PlainStore(), request_context="alice")
    await run.start_workflow(Workflow(type="custom", tasks=[CustomTask(title="Look")]))
    assert run.workflow_item is not None
    run.workflow_item.created_at = datetime.now(UTC)

    with pytest.raises(TypeError):
        await run.end_workflow()


async def test_4_ours_ids_are_long_and_times_are_utc(tmp_path: Path) -> None:
    """128 random bits, in order of time; every time with its offset. In depth: test_store."""
    async with talk(tmp_path) as alice:
        events = await alice.say("Hi")

    assert len(str(alice.thread_id).removeprefix("thr_")) >= 32
    assert new_id("message")[:16] <= new_id("message")[:16]
    times = re.findall(r'"created_at": "([^"]+)"', json.dumps(events))
    assert len(times) > 2
    assert all(datetime.fromisoformat(time).utcoffset() == UTC.utcoffset(None) for time in times)


# 5. After a disconnect the model runs on; a partial answer is lost where saving is I/O; `aclose()` skips the end.


class Counting(OfflineModel):
    """Says numbers, and knows how far it has got."""

    def __init__(self) -> None:
        super().__init__(word_delay=0.002)
        self.said = 0

    async def stream_response(self, *given: Any, **options: Any) -> AsyncIterator[Any]:
        for event in events_of(message_of(LONG)):
            if event.type == "response.output_text.delta":
                await asyncio.sleep(0.002)
                self.said += 1
            yield event


async def test_5_plain_the_model_runs_on_after_a_cancellation() -> None:
    """To its last word, for nobody."""
    model = Counting()
    server = plain(model=model)
    reading = asyncio.create_task(server.ask("threads.create", input=user_input("Count")))
    await reach(model, 5)
    reading.cancel()
    await asyncio.wait([reading])
    await reach(model, 400)

    assert model.said == 400


async def test_5_plain_closing_the_stream_keeps_nothing() -> None:
    """`aclose()` is no cancellation: the partial answer is not saved, and nobody is told."""
    model = Counting()
    server = plain(model=model)
    result = await server.process(
        json.dumps({"type": "threads.create", "params": {"input": user_input("Count")}}), "alice"
    )
    assert isinstance(result, StreamingResult)
    async for _ in result.json_events:
        if model.said >= 5:
            break
    await result.json_events.aclose()

    assert server.cancelled == 0
    assert [item.type for items in server.plain.items.values() for item in items.values()] == ["user_message"]
    await reach(model, 400)


async def test_5_plain_a_second_cancellation_loses_the_partial_answer() -> None:
    """Whoever saves it with real I/O is cancelled in the middle of it: by a server that stops, by a time limit."""
    model = Counting()
    server = plain(model=model)
    reading = asyncio.create_task(server.ask("threads.create", input=user_input("Count")))
    await reach(model, 5)
    server.plain.delay = 0.05
    reading.cancel()
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait([reading])

    assert [item.type for items in server.plain.items.values() for item in items.values()] == ["user_message"]
    await reach(model, 400)


async def test_5_ours_stops_the_model_and_keeps_what_was_said(tmp_path: Path) -> None:
    """Cancelled, even twice. In depth, with PostgreSQL, Stop and disconnect: test_endpoint and its neighbours."""
    model = Counting()
    async with talk(tmp_path, model=model) as alice:
        reading = asyncio.create_task(alice.say("Count"))
        await reach(model, 5)
        reading.cancel()
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        # Nothing is awaited for: what is to be stopped has been stopped.
        said_at_end = model.said
        await asyncio.sleep(0.05)
        [thread] = (await alice.ask("threads.list"))["data"]
        items = (await alice.store.load_thread_items(thread["id"], None, 9, "asc", alice.context)).data

    assert model.said == said_at_end < 400
    assert [item.type for item in items] == ["user_message", "assistant_message", "sdk_hidden_context"]


async def reach(model: Counting, words: int) -> None:
    async with asyncio.timeout(20):
        while model.said < words:  # noqa: ASYNC110  the model counts for itself
            await asyncio.sleep(0.001)


# 6. Chat-completions models call every item `__fake_id__`.


async def test_6_plain_the_second_answer_overwrites_the_first() -> None:
    """Both have the same id."""
    with model_server() as endpoint:
        choice = ModelChoice(provider="openai", base_url=endpoint.url, name="m", api="chat_completions")
        connection = build_model(choice)
        server = plain(model=connection.model)
        thread_id = thread_of(await server.ask("threads.create", input=user_input("One")))
        await server.ask("threads.add_user_message", thread_id=thread_id, input=user_input("Two"))
        await connection.aclose()

    kinds = [item.type for item in server.plain.items[thread_id].values()]
    assert (kinds.count("user_message"), kinds.count("assistant_message")) == (2, 1)
    assert "__fake_id__" in server.plain.items[thread_id]


async def test_6_ours_gives_each_answer_an_id_of_its_own(tmp_path: Path) -> None:
    """In depth: test_models, test_events."""
    with model_server() as endpoint:
        choice = ModelChoice(provider="openai", base_url=endpoint.url, name="m", api="chat_completions")
        connection = build_model(choice)
        async with talk(tmp_path, model=connection.model) as alice:
            await alice.say("One")
            await alice.say("Two")
            items = await alice.items()
        await connection.aclose()

    assert [item.type for item in items] == ["user_message", "assistant_message"] * 2
    assert len({item.id for item in items}) == 4


# 7. A tool's output is looked for in the last item only; `limit` is unbounded.


async def test_7_plain_a_hidden_item_hides_the_call_and_limits_go_through() -> None:
    """Hidden context written after the call, and its output finds nothing; 9,999 threads are asked of the store."""
    server = plain()
    thread_id = thread_of(await server.ask("threads.create", input=user_input("Hi")))
    call = called("pending").model_copy(update={"thread_id": thread_id})
    hidden = HiddenContextItem(id="h", thread_id=thread_id, created_at=datetime.now(UTC), content="noted")
    for item in (call, hidden):
        await server.plain.add_thread_item(thread_id, item, "alice")

    with pytest.raises(ValueError, match="was not a ClientToolCallItem"):
        await server.ask("threads.add_client_tool_output", thread_id=thread_id, result=1)
    await server.ask("threads.list", limit=9999)
    assert server.plain.limits[-1] == 9999


async def test_7_ours_says_it_in_time_and_caps_pages(tmp_path: Path) -> None:
    """409 before the stream; a page has at most a hundred rows. In depth: test_preconditions, test_store."""
    async with talk(tmp_path, model=answers()) as alice:
        await alice.say("Hi")
        with pytest.raises(Problem) as refused:
            await alice.here("threads.add_client_tool_output", result=1)
        for number in range(MAX_PAGE + 1):
            thread = ThreadMetadata(id=f"thr_{number}", created_at=datetime.now(UTC))
            await alice.store.save_thread(thread, alice.context)
        page = await alice.ask("threads.list", limit=9999)

    assert refused.value.status == 409
    assert (len(page["data"]), page["has_more"]) == (MAX_PAGE, True)


# 8. `simple_to_agent_input` fails on attachments and tags; quotes survive on the last item only.

ATTACHED = said("See this", attachments=[FileAttachment(id="atc_1", name="a.pdf", mime_type="application/pdf")])
TAGGED = said("x", content=[UserMessageTagContent(id="t1", text="Paris", data={}), UserMessageTextContent(text=" now")])
QUOTED = said("What of it?", quoted_text="the quote")


async def test_8_plain_one_attachment_or_tag_silences_a_thread_for_good() -> None:
    """The history is converted on every turn; and a quote is gone one turn later."""
    for item in (ATTACHED, TAGGED):
        with pytest.raises(NotImplementedError):
            await simple_to_agent_input([item, said("And now?")])

    assert "the quote" in str(await simple_to_agent_input([QUOTED]))
    assert "the quote" not in str(await simple_to_agent_input([QUOTED, said("And now?")]))


async def test_8_ours_converts_everything_on_every_turn() -> None:
    """In depth: test_conversion, test_history."""
    given = str(await build_input([ATTACHED, TAGGED, QUOTED, said("And now?")], None))

    assert all(word in given for word in ("a.pdf", "Paris", "the quote", "And now?"))


async def test_8_ours_answers_a_turn_without_a_message(tmp_path: Path) -> None:
    """After a tool's output nobody has spoken; samples read ``input_user_message.content`` and fail."""
    async with talk(tmp_path, model=answers()) as alice:
        await alice.say("Hi")
        call = called("pending").model_copy(update={"thread_id": alice.thread_id})
        await alice.store.add_thread_item(str(alice.thread_id), call, alice.context)
        events = await alice.here("threads.add_client_tool_output", result={"ok": True})

    assert answer_in(events) == "Two."


# 9. `stream_agent_response` wants an AgentContext; `item.role` does not exist; where the tool choice is.


async def test_9_plain_the_request_context_is_not_the_agents() -> None:
    """What samples pass fails in the middle of the stream."""
    result = Runner.run_streamed(
        Agent(name="a", model=answers("One.")), "Hi", context="alice", run_config=RunConfig(tracing_disabled=True)
    )
    with pytest.raises(AttributeError):
        async for _ in stream_agent_response("alice", result):  # type: ignore[arg-type]
            pass

    assert not hasattr(QUOTED, "role")
    assert "tool_choice" in type(QUOTED.inference_options).model_fields


async def test_9_ours_an_agent_sees_its_agent_context(tmp_path: Path) -> None:
    """With the verified request in it."""
    seen: list[Any] = []

    def build(turn: Any) -> Agent[Any]:
        async def instruct(run: Any, agent: Any) -> str:
            seen.append((type(run.context), run.context.request_context.user.id))
            return "Be brief."

        return Agent(name="a", model=turn.model, instructions=instruct)

    async with talk(tmp_path, model=answers(), build_agent=build) as alice:
        await alice.say("Hi")

    assert seen == [(AgentContext, "alice")]


# 10. `agents_sdk_user_agent_override` has no try/finally.


async def test_10_plain_a_failure_leaves_the_override_behind() -> None:
    """In the context of whoever drives the stream: every later request of that task says it is ChatKit's."""
    before = HEADERS_OVERRIDE.get()
    try:
        with pytest.raises(RuntimeError), agents_sdk_user_agent_override():
            raise RuntimeError
        left = HEADERS_OVERRIDE.get()
    finally:
        HEADERS_OVERRIDE.set(before)

    assert left != before


async def test_10_ours_drives_each_stream_in_a_task_of_its_own(tmp_path: Path) -> None:
    """What is left behind there is gone with it."""
    before = HEADERS_OVERRIDE.get()
    async with talk(tmp_path, model=ScriptedModel([RuntimeError("no")])) as alice:
        events = await alice.say("Hi")

    assert [event["type"] for event in events].count("error") == 1
    assert HEADERS_OVERRIDE.get() == before
