"""What a conversation is called: at once after its first message, then better, and never against the user's will."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agents.testing import ModelStep, ScriptedModel, assistant_message
from chatkit.types import FileAttachment, UserMessageItem

from agent_backend.mcp import McpServers, ServerChoice
from agent_backend.server import AssistantServer
from agent_backend.store.swaps import SqlSwaps
from agent_backend.titles import MAX_TITLE, TitleWriter, title_of
from tests.agent_backend.assistant import RUN_CONFIG, Talk, output, talk
from tests.agent_backend.thread_items import said
from tests.agent_backend.world import answer_in

FILE = FileAttachment(id="atc_1", name="report.pdf", mime_type="application/pdf")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (said(""), None),
        (said("  "), None),
        (said("short"), "short"),
        (said("How much\n is   it?\x00\x1b[0m"), "How much is it? [0m"),
        (said("word " * 30), " ".join(["word"] * 11) + "…"),
        (said("", attachments=[FILE]), "report.pdf"),
        (said("See", attachments=[FILE]), "See"),
    ],
)
def test_a_title_is_one_short_line(message: UserMessageItem, expected: str | None) -> None:
    """Cut at a word, with a sign that it was cut; of an attachment alone, its name."""
    assert title_of(message) == expected


def titles_in(events: list[dict[str, Any]]) -> list[str]:
    return [event["thread"]["title"] for event in events if event["type"] == "thread.updated"]


class TitleModel(ScriptedModel):
    """Thinks of one title, when it is let."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(steps)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()

    async def get_response(self, *arguments: Any, **options: Any) -> Any:
        self.asked.set()
        await self.let.wait()
        return await super().get_response(*arguments, **options)


class Waiting(ScriptedModel):
    """Answers only when it is let."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(steps)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def stream_response(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        self.asked.set()
        await self.let.wait()
        async for event in super().stream_response(*arguments, **options):
            yield event


def words(text: str) -> Any:
    return output(assistant_message(text))


@asynccontextmanager
async def titled(
    folder: Path,
    title_model: ScriptedModel,
    *answers: str,
    model: ScriptedModel | None = None,
    timeout: float = 20.0,
    mcp: McpServers | None = None,
) -> AsyncIterator[tuple[Talk, TitleWriter]]:
    """A server whose titles one model makes, and whose answers another."""
    async with talk(folder, model=model or ScriptedModel([words(answer) for answer in answers])) as alice:
        writer = TitleWriter(
            model=title_model, run_config=RUN_CONFIG, store=SqlSwaps(engine=alice.store.engine), timeout=timeout
        )
        # The same server, with titles.
        alice.server = AssistantServer(
            store=alice.store,
            build_agent=alice.server._build_agent,
            model=alice.server._model,
            run_config=RUN_CONFIG,
            titles=writer,
            mcp=mcp,
        )
        yield alice, writer
        await writer.finish()


async def title_now(alice: Talk) -> str | None:
    return (await alice.store.load_thread(str(alice.thread_id), alice.context)).title


async def test_the_first_title_waits_for_no_model(tmp_path: Path) -> None:
    """It is stored and told before the model has said anything."""
    model = Waiting(words("Hello."))
    async with talk(tmp_path, model=model) as alice:
        saying = asyncio.create_task(alice.say("How much is it?"))
        await model.asked.wait()
        stored = await alice.store.load_threads(9, None, "desc", alice.context)
        model.let.set()
        events = await saying

    assert [thread.title for thread in stored.data] == ["How much is it?"]
    assert titles_in(events) == ["How much is it?"]


async def test_a_better_title_follows_beside_the_answer(tmp_path: Path) -> None:
    """Made from the first message alone, told as soon as it is there, and stored."""
    answer = Waiting(words("It is free."))
    title = TitleModel(words('"Price of the\n product."'))
    async with titled(tmp_path, title, model=answer) as (alice, writer):
        saying = asyncio.create_task(alice.say("How much is it?"))
        await answer.asked.wait()
        await writer.finish()
        answer.let.set()
        events = await saying
        stored = await title_now(alice)

    assert titles_in(events) == ["How much is it?", "Price of the product"]
    assert stored == "Price of the product"
    assert (title.calls[0].input[0]["content"], title.calls[0].tools) == ("How much is it?", [])


async def test_an_answer_never_waits_for_its_title(tmp_path: Path) -> None:
    """The stream ends while the model still thinks; the title is put in afterwards."""
    title = TitleModel(words("Late title"))
    title.let.clear()
    async with titled(tmp_path, title, "It is free.") as (alice, writer):
        events = await alice.say("How much is it?")
        before = await title_now(alice)
        title.let.set()
        await writer.finish()
        after = await title_now(alice)

    assert answer_in(events) == "It is free."
    assert (before, after) == ("How much is it?", "Late title")


async def test_only_the_first_message_names_a_conversation(tmp_path: Path) -> None:
    """The second asks no model for a title."""
    title = TitleModel(words("Title"))
    async with titled(tmp_path, title, "One.", "Two.") as (alice, writer):
        await alice.say("First")
        await writer.finish()
        await alice.say("Second")

    assert len(title.calls) == 1


async def test_the_users_own_name_is_never_overwritten(tmp_path: Path) -> None:
    """Renamed while the model was thinking, and while the answer ran: it stays as the user called it."""
    title, answer = TitleModel(words("Better")), Waiting(words("Hello."))
    title.let.clear()
    async with titled(tmp_path, title, model=answer) as (alice, writer):
        saying = asyncio.create_task(alice.say("First words"))
        await asyncio.wait_for(title.asked.wait(), 10)
        await answer.asked.wait()
        alice.thread_id = (await alice.store.load_threads(9, None, "desc", alice.context)).data[0].id
        await alice.here("threads.update", title="My own name")
        title.let.set()
        await writer.finish()
        answer.let.set()
        events = await saying
        stored = await title_now(alice)

    assert stored == "My own name"
    assert titles_in(events) == ["First words"]


@pytest.mark.parametrize(
    "step",
    [RuntimeError("no"), words(""), words(" \n\x07 "), ModelStep.raise_error(TimeoutError())],
    ids=["fails", "empty", "nothing printable", "times out"],
)
async def test_a_title_that_fails_breaks_nothing(tmp_path: Path, step: Any) -> None:
    """The answer is whole, and the first line stands."""
    async with titled(tmp_path, TitleModel(step), "It is free.") as (alice, writer):
        events = await alice.say("How much is it?")
        await writer.finish()
        stored = await title_now(alice)

    assert answer_in(events) == "It is free."
    assert "error" not in [event["type"] for event in events]
    assert stored == "How much is it?"


async def test_a_title_has_a_time_limit(tmp_path: Path) -> None:
    """A model that says nothing is not waited for for ever."""
    title = TitleModel(words("Never"))
    title.let.clear()
    async with titled(tmp_path, title, "It is free.", timeout=0.05) as (alice, writer):
        await alice.say("How much is it?")
        await writer.finish()
        stored = await title_now(alice)

    assert stored == "How much is it?"


async def test_a_client_who_leaves_takes_the_title_along(tmp_path: Path) -> None:
    """No model works on for a conversation that nobody waits for, and no task is left."""
    title, answer = TitleModel(words("Never")), Waiting(words("Hello."))
    title.let.clear()
    async with titled(tmp_path, title, model=answer) as (alice, _):
        before = asyncio.all_tasks()
        saying = asyncio.create_task(alice.say("First words"))
        await title.asked.wait()
        await answer.asked.wait()
        saying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saying
        # Its own time limit is longer: it ends because it was cancelled, or not here.
        await nothing_left(before)

    assert title.calls == ()


async def nothing_left(before: set[asyncio.Task[Any]]) -> None:
    """Once what is ending has ended."""
    _, left = await asyncio.wait([asyncio.create_task(asyncio.sleep(0)), *(asyncio.all_tasks() - before)], timeout=10)
    assert not left


async def test_a_turn_without_its_tools_has_no_title_either(tmp_path: Path) -> None:
    """The answer ended before it began, for want of a server it needs: nothing is asked beside it any more."""
    title = TitleModel(words("Never"))
    title.let.clear()
    missing = McpServers(
        [
            ServerChoice(
                name="orders", url="http://127.0.0.1:1/mcp", identity="meta", meta={"user_id": "user_id"}, required=True
            )
        ]
    )
    async with titled(tmp_path, title, mcp=missing) as (alice, _):
        before = asyncio.all_tasks()
        events = await alice.say("First words")
        await nothing_left(before)

    assert [event["type"] for event in events][-1] == "error"
    assert title.calls == ()


async def test_a_shutdown_waits_a_moment_for_titles_and_no_longer(tmp_path: Path) -> None:
    """Their own time limit is far beyond the time a supervisor gives us."""
    title = TitleModel(words("Never"))
    title.let.clear()
    async with titled(tmp_path, title, "It is free.", timeout=3600) as (alice, writer):
        await alice.say("How much is it?")
        await asyncio.wait_for(writer.finish(), 10)
        stored = await title_now(alice)

    assert stored == "How much is it?"
    assert repr(writer) == "<TitleWriter 0 under way>"


async def test_a_models_title_is_bounded(tmp_path: Path) -> None:
    """A model that writes an essay has written one line."""
    async with titled(tmp_path, TitleModel(words("word " * 500)), "Hello.") as (alice, writer):
        await alice.say("Hi")
        await writer.finish()
        stored = await title_now(alice)

    assert stored is not None
    assert len(stored) <= MAX_TITLE
