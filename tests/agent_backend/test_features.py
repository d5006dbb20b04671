"""What users of a chat expect, each as the default agent shows it: with the offline model, and with a scripted one."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from agents.testing import ScriptedModel, assistant_message
from chatkit.server import StreamingResult
from chatkit.types import ClosedStatus, LockedStatus, UserMessageItem
from chatkit.widgets import DynamicWidgetRoot
from sqlalchemy import event, select

from agent_backend.choices import Choices
from agent_backend.context import PageContext
from agent_backend.offline_model import OfflineModel
from agent_backend.offline_plan import PHRASES
from agent_backend.problems import Problem
from agent_backend.store.tables import feedback, items
from agent_backend.tools import TOOL_NAMES, Run, set_theme, show_checklist
from tests.agent_backend.assistant import agent_with, calls, item_in, kinds_of, output, talk
from tests.agent_backend.thread_items import line_of, said
from tests.agent_backend.world import answer_in, context_for, user_input


def given(model: ScriptedModel, call: int = -1) -> list[str]:
    """What one call to the model was given, as lines."""
    return [line_of(part) for part in model.calls[call].input]


async def test_the_offline_model_lists_what_it_can_show(tmp_path: Path) -> None:
    """Each thing it lists, said as it is listed, calls the tool it is about."""
    async with talk(tmp_path) as alice:
        listed = answer_in(await alice.say("What can you do?"))

    assert all(f"“{phrase.say}”" in listed for phrase in PHRASES)
    assert {phrase.tool for phrase in PHRASES} == set(TOOL_NAMES)


async def test_progress_is_shown_while_a_tool_works(tmp_path: Path) -> None:
    """One update for each step, before the answer, and nothing of them is kept."""
    page = PageContext(title="Pricing")
    async with talk(tmp_path, context=context_for("alice", page=page)) as alice:
        events = await alice.say("check my connection")
        kept = [item.type for item in await alice.items()]

    assert [e["text"] for e in events if e["type"] == "progress_update" and e["text"]] == [
        "Looking at your sign-in …",
        "Looking at your page …",
        "Counting your conversations …",
    ]
    assert "signed in as Alice; on the page Pricing; 1 conversations" in answer_in(events)
    assert kept == ["user_message", "assistant_message"]


@pytest.mark.parametrize(("text", "theme"), [("Dark mode, please", "dark"), ("switch to the light theme", "light")])
async def test_a_client_effect_reaches_the_page(tmp_path: Path, text: str, theme: str) -> None:
    """By name and with its data; the answer goes on."""
    async with talk(tmp_path) as alice:
        events = await alice.say(text)

    effects = [event for event in events if event["type"] == "client_effect"]
    assert effects == [{"type": "client_effect", "name": "set_theme", "data": {"theme": theme}}]
    assert theme in answer_in(events)


async def test_a_client_tool_is_answered_by_the_page_and_the_turn_goes_on(tmp_path: Path) -> None:
    """The call ends the answer; its result begins the next, which knows both."""
    async with talk(tmp_path) as alice:
        asked = await alice.say("What time is it here?")
        events = await alice.here("threads.add_client_tool_output", result={"time_zone": "Asia/Tokyo"})
        kept = await alice.items()

    call = item_in(asked, "client_tool_call")
    assert (call["name"], call["arguments"], call["status"]) == ("get_time_zone", {}, "pending")
    assert "error" not in kinds_of(asked)
    assert "Asia/Tokyo" in answer_in(events)
    assert [item.type for item in kept] == ["user_message", "client_tool_call", "assistant_message"]


async def test_calls_that_a_model_names_alike_stay_apart(tmp_path: Path) -> None:
    """Some endpoints number calls anew in each answer; the history pairs each call with its own output."""
    model = ScriptedModel(
        [
            calls("get_time_zone"),
            output(assistant_message("One.")),
            calls("get_time_zone"),
            output(assistant_message("Two.")),
        ]
    )
    async with talk(tmp_path, model=model) as alice:
        for zone in ("A", "B"):
            await alice.say("Which time zone?")
            await alice.here("threads.add_client_tool_output", result={"zone": zone})

    pairs = [dict(part) for part in model.calls[3].input if "call_id" in part]
    assert [part["type"] for part in pairs] == ["function_call", "function_call_output"] * 2
    assert pairs[0]["call_id"] == pairs[1]["call_id"] != pairs[2]["call_id"] == pairs[3]["call_id"]
    assert [json.loads(part["output"])["zone"] for part in pairs if "output" in part] == ["A", "B"]


async def test_a_page_that_never_answers_does_not_end_the_conversation(tmp_path: Path) -> None:
    """The next message is answered, and the model is told that the browser was not heard of."""
    model = ScriptedModel([calls("get_time_zone"), output(assistant_message("Fine."))])
    async with talk(tmp_path, model=model) as alice:
        await alice.say("Which time zone?")
        events = await alice.say("Never mind.")

    assert answer_in(events) == "Fine."
    assert given(model)[1:] == [
        "user: (My browser was asked to run get_time_zone, and has not answered.)",
        "user: Never mind.",
    ]


async def test_a_form_is_asked_answered_and_acted_on(tmp_path: Path) -> None:
    """Pending, then answered, then the assistant goes on with what was answered."""
    async with talk(tmp_path) as alice:
        form = item_in(await alice.say("Ask me some questions."), "structured_input")
        answers = {"q1": {"values": ["An order"]}, "q2": {"values": ["It is late."]}}
        events = await alice.here(
            "threads.add_structured_input", item_id=form["id"], input={"status": "answered", "answers": answers}
        )
        kept = await alice.items()

    assert form["status"] == "pending"
    assert [question["type"] for question in form["inputs"]] == ["multiple_choice", "freeform"]
    assert item_in(events, "structured_input")["status"] == "answered"
    assert "What is it about?: An order" in answer_in(events)
    assert "It is late." in answer_in(events)
    assert [item.type for item in kept] == ["user_message", "structured_input", "assistant_message"]


async def test_a_form_can_be_skipped_but_not_sent_twice(tmp_path: Path) -> None:
    """Skipping is an answer too; the second time is a 409."""
    async with talk(tmp_path) as alice:
        form = item_in(await alice.say("Ask me something."), "structured_input")
        events = await alice.here("threads.add_structured_input", item_id=form["id"], input={"status": "skipped"})
        with pytest.raises(Problem) as refused:
            await alice.here("threads.add_structured_input", item_id=form["id"], input={"status": "skipped"})

    assert "skipped" in answer_in(events)
    assert refused.value.status == 409


async def test_a_form_left_open_does_not_end_the_conversation(tmp_path: Path) -> None:
    """Who would rather write than fill it in is answered."""
    async with talk(tmp_path) as alice:
        await alice.say("Ask me something.")
        events = await alice.say("I would rather just tell you.")

    assert kinds_of(events)[-1] == "thread.item.done assistant_message"


async def test_what_a_mention_carries_reaches_the_model(tmp_path: Path) -> None:
    """As the client tells it, bounded; nothing else is needed on the server."""
    tag = {"type": "input_tag", "id": "p1", "text": "Ann", "group": "people", "data": {"team": "Blue"}}
    content = [{"type": "input_text", "text": "Ask "}, tag]
    async with talk(tmp_path) as alice:
        first = await alice.say("", content=content)
        later = await alice.say("What did I say?")

    assert 'You mentioned Ann, which came with {"id": "p1"' in answer_in(first)
    assert '"team": "Blue"' in answer_in(first)
    assert "Ask @Ann" in answer_in(later)


async def test_a_tool_chosen_in_the_composer_is_used(tmp_path: Path) -> None:
    """Whatever the words say; and once only, then the model speaks."""
    async with talk(tmp_path) as alice:
        events = await alice.say("Please: milk, bread", inference_options={"tool_choice": {"id": "show_checklist"}})

    assert kinds_of(events)[1:] == [
        "thread.item.done widget",
        "thread.item.added assistant_message",
        "thread.item.done assistant_message",
    ]
    assert item_in(events, "widget")["copy_text"] == "Checklist\n[ ] milk\n[ ] bread"


async def test_the_model_is_told_to_use_the_chosen_tool(tmp_path: Path) -> None:
    """In the first request of the answer; afterwards it is free, or it would call the tool for ever."""
    model = ScriptedModel([calls("show_checklist", title="T", entries=["a"]), output(assistant_message("There."))])
    async with talk(tmp_path, model=model) as alice:
        await alice.say("List it.", inference_options={"tool_choice": {"id": "show_checklist"}})

    assert [call.model_settings.tool_choice for call in model.calls] == ["show_checklist", None]


async def test_a_model_chosen_in_the_composer_answers(tmp_path: Path) -> None:
    """That turn only."""
    choices = Choices(models={"fast": OfflineModel(word_delay=0, name="fast")})
    async with talk(tmp_path, choices=choices) as alice:
        fast = await alice.say("Hello", inference_options={"model": "fast"})
        default = await alice.say("Hello again")

    assert answer_in(fast).startswith("[fast] I am the offline model")
    assert answer_in(default).startswith("I am the offline model")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tool_choice": {"id": "delete_everything"}}, "tool_not_offered"),
        ({"model": "the-most-expensive"}, "model_not_offered"),
    ],
)
async def test_a_choice_that_is_not_offered_is_refused_before_the_answer(
    tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    """A 400 with a code, in a new conversation and in an old one, and nothing is kept of it."""
    async with talk(tmp_path) as alice:
        with pytest.raises(Problem) as refused:
            await alice.say("Hi", inference_options=options)
        assert (await alice.store.load_threads(9, None, "desc", alice.context)).data == []
        await alice.say("Hi")
        with pytest.raises(Problem):
            await alice.say("Hi", inference_options=options)
        kept = await alice.items()

    assert (refused.value.status, refused.value.code) == (400, code)
    assert len(kept) == 2


async def test_a_choice_that_was_taken_off_the_list_does_not_end_a_conversation(tmp_path: Path) -> None:
    """Its old message can still be retried: with the default."""
    async with talk(tmp_path) as alice:
        events = await alice.say("Hi")
        message = await alice.store.load_item(
            str(alice.thread_id), item_in(events, "user_message")["id"], alice.context
        )
        assert isinstance(message, UserMessageItem)
        message.inference_options.model = "gone"
        await alice.store.save_item(str(alice.thread_id), message, alice.context)
        retried = await alice.here("threads.retry_after_item", item_id=message.id)

    assert "offline model" in answer_in(retried)


async def test_a_tool_that_is_listed_but_not_there_is_one_readable_error(tmp_path: Path) -> None:
    """The settings name it and the agent of this turn has it not: said, and the model is not asked."""
    model = ScriptedModel([])
    async with talk(tmp_path, model=model, choices=Choices(tools=["elsewhere"])) as alice:
        events = await alice.say("Hi", inference_options={"tool_choice": {"id": "elsewhere"}})

    errors = [event for event in events if event["type"] == "error"]
    assert [error["message"] for error in errors] == [
        "That tool is not available right now. Please try again without it."
    ]
    assert model.calls == ()


@function_tool
async def fail(run: Run) -> str:
    """Fails."""
    raise RuntimeError("secret detail")


async def test_a_tool_that_fails_is_told_to_the_model_without_details(tmp_path: Path) -> None:
    """The SDK's one sentence; the answer goes on, and nothing half-made is kept."""
    model = ScriptedModel([calls("fail"), output(assistant_message("It did not work."))])
    async with talk(tmp_path, model=model, build_agent=agent_with(fail)) as alice:
        events = await alice.say("Do it.")
        kept = [item.type for item in await alice.items()]

    assert answer_in(events) == "It did not work."
    assert "secret detail" not in str(model.calls[1].input) + json.dumps(events)
    assert kept == ["user_message", "assistant_message"]


@function_tool
async def draw_half(run: Run) -> str:
    """Draws a widget bit by bit, and fails."""

    async def bits() -> AsyncGenerator[DynamicWidgetRoot, None]:
        yield DynamicWidgetRoot.model_validate({"type": "Card", "children": []})
        raise RuntimeError("no more")

    await run.context.stream_widget(bits())
    return "drawn"


@pytest.mark.parametrize("answers", [[output(assistant_message("Sorry."))], [RuntimeError("the model fails, too")]])
async def test_half_a_widget_is_taken_back(tmp_path: Path, answers: list[Any]) -> None:
    """Its tool failed half-way: it is gone from the screen, and was never kept."""
    model = ScriptedModel([calls("draw_half"), *answers])
    async with talk(tmp_path, model=model, build_agent=agent_with(draw_half)) as alice:
        events = await alice.say("Draw.")
        kept = [item.type for item in await alice.items()]

    added = [e["item"]["id"] for e in events if e["type"] == "thread.item.added" and e["item"]["type"] == "widget"]
    removed = [event["item_id"] for event in events if event["type"] == "thread.item.removed"]
    assert added == removed
    assert len(added) == 1
    assert "widget" not in kept


@pytest.mark.parametrize("entries", [[], ["", "  "]])
async def test_a_widget_that_cannot_be_drawn_is_not_shown(tmp_path: Path, entries: list[str]) -> None:
    """The model is told why, and no half of it is kept."""
    model = ScriptedModel([calls("show_checklist", title="T", entries=entries), output(assistant_message("Sorry."))])
    async with talk(tmp_path, model=model, build_agent=agent_with(show_checklist)) as alice:
        events = await alice.say("List nothing.")

    assert kinds_of(events)[1:] == ["thread.item.added assistant_message", "thread.item.done assistant_message"]
    assert "at least one entry" in str(model.calls[1].input)


async def test_a_form_without_questions_is_not_the_end_of_an_answer(tmp_path: Path) -> None:
    """A tool that could not ask does not leave the user with nothing: the model goes on."""
    model = ScriptedModel([calls("ask_user", questions=[]), output(assistant_message("Sorry."))])
    async with talk(tmp_path, model=model) as alice:
        events = await alice.say("Ask me nothing.")

    assert answer_in(events) == "Sorry."
    assert "at least one question" in str(model.calls[1].input)


async def test_arguments_a_model_made_up_are_refused_by_the_tool(tmp_path: Path) -> None:
    """No effect with a theme that does not exist reaches a page."""
    model = ScriptedModel([calls("set_theme", theme="<b>"), output(assistant_message("No."))])
    async with talk(tmp_path, model=model, build_agent=agent_with(set_theme)) as alice:
        events = await alice.say("Pink, please.")

    assert [event for event in events if event["type"] == "client_effect"] == []
    assert answer_in(events) == "No."


class Talker(OfflineModel):
    """Says four words, and then thinks for ever."""

    async def stream_response(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        words = 0
        async for sent in super().stream_response(*arguments, **options):
            yield sent
            words += sent.type == "response.output_text.delta"
            if words == 4:
                await asyncio.Event().wait()


async def test_what_a_cancelled_answer_had_said_is_in_the_next_turn(tmp_path: Path) -> None:
    """The user has read it, so the model must know it, and that it was stopped."""
    async with talk(tmp_path, model=Talker(word_delay=0)) as alice:
        body = json.dumps({"type": "threads.create", "params": {"input": user_input("Hello")}})
        stream = await alice.server.process(body, alice.context)
        assert isinstance(stream, StreamingResult)
        async with aclosing(aiter(stream)) as frames:  # type: ignore[type-var]  # it is a generator
            async for frame in frames:
                if b"offline" in frame:
                    break
        alice.thread_id = (await alice.store.load_threads(9, None, "desc", alice.context)).data[0].id
        model = ScriptedModel([output(assistant_message("Yes?"))])
        async with talk(tmp_path, model=model) as again:
            again.thread_id = alice.thread_id
            events = await again.say("Go on")

    assert answer_in(events) == "Yes?"
    lines = given(model)
    assert lines[0] == "user: Hello"
    assert lines[1].startswith("assistant: I am the offline")
    assert "The user cancelled the stream" in lines[2]
    assert lines[3:] == ["user: Go on"]


async def feedback_of(alice: Any) -> dict[str, str]:
    async with alice.store.engine.connect() as connection:
        rows = await connection.execute(select(feedback.c.item_id, feedback.c.kind))
        return {row.item_id: row.kind for row in rows}


async def test_feedback_is_kept_once_and_can_be_changed(tmp_path: Path) -> None:
    """The same opinion twice is one; a second opinion replaces the first."""
    async with talk(tmp_path) as alice:
        item_id = item_in(await alice.say("Hi"), "assistant_message")["id"]
        for kind in ("positive", "positive", "negative"):
            await alice.here("items.feedback", item_ids=[item_id, item_id], kind=kind)

        assert await feedback_of(alice) == {item_id: "negative"}


async def test_feedback_on_what_is_not_ones_own_is_not_kept(tmp_path: Path) -> None:
    """All of it or none: one foreign or unknown id, another thread's or another user's, is 404."""
    async with talk(tmp_path) as alice:
        own = item_in(await alice.say("Hi"), "assistant_message")["id"]
        bob = alice.as_user("bob")
        bob.thread_id = None
        foreign = item_in(await bob.say("Hi"), "assistant_message")["id"]
        for asking, item_ids in ((alice, [own, foreign]), (alice, [own, "msg_unknown"]), (alice.as_user("bob"), [own])):
            with pytest.raises(Problem) as refused:
                await asking.here("items.feedback", item_ids=item_ids, kind="positive")
            assert refused.value.status == 404

        assert await feedback_of(alice) == {}


@pytest.mark.parametrize("status", [LockedStatus(), ClosedStatus()])
@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("threads.add_user_message", {"input": user_input("Hi")}),
        ("threads.custom_action", {"action": {"type": "checklist.finish"}}),
        ("threads.sync_custom_action", {"action": {"type": "checklist.check"}}),
        ("threads.add_client_tool_output", {"result": 1}),
        ("threads.retry_after_item", {"item_id": "msg_1"}),
    ],
)
async def test_a_locked_or_closed_conversation_says_so(
    tmp_path: Path, status: Any, operation: str, params: dict[str, Any]
) -> None:
    """A 409 with a sentence for people, whatever is tried."""
    async with talk(tmp_path) as alice:
        await alice.say("Hi")
        thread = await alice.store.load_thread(str(alice.thread_id), alice.context)
        thread.status = status
        await alice.store.save_thread(thread, alice.context)
        with pytest.raises(Problem) as refused:
            await alice.here(operation, **params)

    assert refused.value.status == 409
    assert status.type in refused.value.message


async def test_a_thread_of_thousands_of_items_costs_what_a_short_one_costs(tmp_path: Path) -> None:
    """Counted at the database: the same statements, and the same items read, for 20 items and for 5,000."""
    costs = []
    for count in (60, 5000):
        folder = tmp_path / str(count)
        folder.mkdir()
        async with talk(folder) as alice:
            await alice.say("First")
            await fill(alice, count)
            statements: list[str] = []
            engine = alice.store.engine.sync_engine
            event.listen(engine, "before_cursor_execute", lambda *about, log=statements: log.append(about[2]))
            await alice.say("Last")
            costs.append((len(statements), alice.context.notes["items"]))

    assert costs[0] == costs[1]
    assert costs[0][1] == 40


async def fill(alice: Any, count: int) -> None:
    rows = [said("x", id=f"msg_{number:09}", thread_id=alice.thread_id) for number in range(count)]
    async with alice.store.engine.begin() as connection:
        await connection.execute(
            items.insert(),
            [
                {
                    "id": row.id,
                    "thread_id": row.thread_id,
                    "created_at": row.created_at,
                    "data": row.model_dump(mode="json"),
                }
                for row in rows
            ],
        )
