"""What the client's actions do: judged before an answer begins, done once for each click, in one's own thread only."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from agents import Agent
from agents.testing import ScriptedModel, assistant_message
from chatkit.types import HiddenContextItem, ThreadItem, WidgetItem
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.actions import ActionCall, ActionInvalid, ActionRule, ActionTable, Outcome
from agent_backend.checklist import CHECKLIST_ACTIONS, MAX_ENTRIES, build_checklist, draw_checklist, read_checklist
from agent_backend.context import RequestContext
from agent_backend.plugin import AgentUnusable, load_actions
from agent_backend.problems import Problem
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore
from agent_backend.store.schema import migrate
from agent_backend.store.swaps import SqlSwaps
from tests.agent_backend.assistant import RUN_CONFIG, Talk, item_in, kinds_of, output, talk
from tests.agent_backend.thread_items import COMMON
from tests.agent_backend.world import answer_in, context_for

CHECK = {"type": "checklist.check", "payload": {"entry": 1, "done": True}}
FINISH = {"type": "checklist.finish", "payload": {}}


async def shown_checklist(alice: Talk) -> str:
    """A checklist of three entries in alice's thread; its id."""
    return str(item_in(await alice.say("Make a checklist: milk, bread, tea"), "widget")["id"])


def marks(text: str) -> str:
    """``-x-``: which entries are done."""
    return "".join("x" if line.startswith("[x]") else "-" for line in text.splitlines()[1:])


async def test_a_tick_is_one_changed_widget(tmp_path: Path) -> None:
    """In the answer, in the store, and in what the model reads next."""
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        answer = await alice.here("threads.sync_custom_action", item_id=widget, action=CHECK)
        stored = await alice.store.load_item(str(alice.thread_id), widget, alice.context)

    assert answer["updated_item"]["id"] == widget
    assert marks(answer["updated_item"]["copy_text"]) == "-x-"
    assert isinstance(stored, WidgetItem)
    assert [entry.done for entry in read_checklist(stored).entries] == [False, True, False]


async def test_a_tick_that_arrives_twice_changes_nothing_more(tmp_path: Path) -> None:
    """Its payload says what shall be. As a stream it does the same, and shows the widget in place of the old one."""
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        await alice.here("threads.sync_custom_action", item_id=widget, action=CHECK)
        events = await alice.here("threads.custom_action", item_id=widget, action=CHECK)

    assert kinds_of(events) == ["thread.item.replaced widget"]
    assert marks(item_in(events, "widget")["copy_text"]) == "-x-"


async def test_a_finished_list_is_answered(tmp_path: Path) -> None:
    """The model is told, in a note that the client is never sent, and goes on."""
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        await alice.here("threads.sync_custom_action", item_id=widget, action=CHECK)
        events = await alice.here("threads.custom_action", item_id=widget, action=FINISH)
        kept = await alice.items()

    assert "1 of 3 done" in answer_in(events)
    assert "hidden_context_item" not in json.dumps(events)
    assert [item.type for item in kept][-2:] == ["hidden_context_item", "assistant_message"]


def test_the_copy_button_is_the_pages(tmp_path: Path) -> None:
    """A client action carries all the page needs; the server has no such action."""
    checklist = build_checklist("T", ["a", "b"])
    assert checklist is not None
    drawn = draw_checklist(checklist).model_dump()
    copy = drawn["children"][-1]["children"][1]["onClickAction"]

    assert (copy["handler"], copy["type"], copy["payload"]) == ("client", "checklist.copy", {"text": checklist.text})


def test_a_checklist_has_limits() -> None:
    """Of a model's making: too many, too long, empty."""
    checklist = build_checklist(" a \n b ", ["x" * 500, " ", *["y"] * 100])

    assert checklist is not None
    assert (checklist.title, len(checklist.entries), len(checklist.entries[0].label)) == ("a b", MAX_ENTRIES, 120)
    assert build_checklist("T", [" "]) is None


REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no such action": (400, "action_unknown", {"type": "checklist.explode", "payload": {}}),
    "the page's own": (400, "action_unknown", {"type": "checklist.copy", "payload": {}}),
    "no payload": (400, "action_invalid", {"type": "checklist.check"}),
    "a payload of another shape": (400, "action_invalid", {"type": "checklist.check", "payload": ["entry"]}),
    "a wrong type": (400, "action_invalid", {"type": "checklist.check", "payload": {"entry": "x", "done": True}}),
    "below zero": (400, "action_invalid", {"type": "checklist.check", "payload": {"entry": -1, "done": True}}),
    "no such entry": (400, "action_invalid", {"type": "checklist.check", "payload": {"entry": 3, "done": True}}),
}


@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_done_is_refused_before_an_answer(tmp_path: Path, operation: str, name: str) -> None:
    """As JSON with a code, on the stream too; and the widget is as it was."""
    status, code, action = REFUSED[name]
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        before = await alice.items()
        with pytest.raises(Problem) as refused:
            await alice.here(operation, item_id=widget, action=action)
        assert await alice.items() == before

    assert (refused.value.status, refused.value.code) == (status, code)


@pytest.mark.parametrize(
    ("operation", "action", "status"),
    [
        ("threads.custom_action", CHECK, 400),
        ("threads.sync_custom_action", CHECK, 400),
        ("threads.custom_action", FINISH, 400),
    ],
)
async def test_an_action_needs_the_widget_it_is_about(
    tmp_path: Path, operation: str, action: dict[str, Any], status: int
) -> None:
    """Sent by the page itself, from nowhere, it is refused."""
    async with talk(tmp_path) as alice:
        await shown_checklist(alice)
        with pytest.raises(Problem) as refused:
            await alice.here(operation, action=action)

    assert refused.value.status == status


async def test_an_answer_needs_a_stream(tmp_path: Path) -> None:
    """The single answer has no room for words, so it is not pretended."""
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        with pytest.raises(Problem) as refused:
            await alice.here("threads.sync_custom_action", item_id=widget, action=FINISH)

    assert refused.value.code == "action_invalid"


@pytest.mark.parametrize("operation", ["threads.custom_action", "threads.sync_custom_action"])
async def test_a_widget_of_somebody_else_or_somewhere_else_is_not_there(tmp_path: Path, operation: str) -> None:
    """Another user's thread, and one's own thread with a widget of another of one's threads: 404, unchanged."""
    async with talk(tmp_path) as alice:
        widget = await shown_checklist(alice)
        before = await alice.items()
        first, alice.thread_id = alice.thread_id, None
        await alice.say("Another thread.")
        for asking, thread_id in ((alice.as_user("mallory"), first), (alice, alice.thread_id)):
            with pytest.raises(Problem) as refused:
                await asking.ask(operation, thread_id=thread_id, item_id=widget, action=CHECK)
            assert refused.value.status == 404
        alice.thread_id = first
        assert await alice.items() == before


async def test_clicks_at_once_are_one_after_the_other(engine: AsyncEngine) -> None:
    """On one list from two servers that share a database: no tick is lost, on SQLite and on PostgreSQL."""
    await migrate(engine)
    servers = [build_server(SqlStore(engine=engine)) for _ in range(2)]
    alice = Talk(server=servers[0], store=SqlStore(engine=engine), context=context_for("alice"))
    await alice.say("Hi")
    checklist = build_checklist("T", [f"entry {number}" for number in range(8)])
    assert checklist is not None
    widget = WidgetItem(id="msg_w", widget=draw_checklist(checklist), **{**COMMON, "thread_id": str(alice.thread_id)})
    await alice.store.add_thread_item(widget.thread_id, widget, alice.context)

    async def click(number: int) -> None:
        clicking = Talk(server=servers[number % 2], store=alice.store, context=alice.context, thread_id=alice.thread_id)
        action = {"type": "checklist.check", "payload": {"entry": number, "done": True}}
        await clicking.here("threads.sync_custom_action", item_id="msg_w", action=action)

    await asyncio.gather(*(click(number) for number in range(8)))
    stored = await alice.store.load_item(widget.thread_id, "msg_w", alice.context)

    assert isinstance(stored, WidgetItem)
    assert all(entry.done for entry in read_checklist(stored).entries)


def build_server(store: SqlStore) -> AssistantServer:
    return AssistantServer(
        store=store,
        build_agent=lambda turn: Agent(name="a", model=turn.model),
        model=ScriptedModel([output(assistant_message("Hello."))]),
        run_config=RUN_CONFIG,
        actions=CHECKLIST_ACTIONS,
    )


class Nothing(BaseModel):
    pass


async def test_an_action_of_ones_own_is_a_row(tmp_path: Path) -> None:
    """With a note for the model and no answer; the page may send it by itself."""

    async def remember(call: ActionCall[Nothing]) -> Outcome:
        return Outcome(note=f"{call.context.user.name} saw the offer")

    table = ActionTable({"offer.seen": ActionRule(payload=Nothing, perform=remember)})
    async with talk(tmp_path, actions=table) as alice:
        await alice.say("Hi")
        for operation in ("threads.custom_action", "threads.sync_custom_action"):
            await alice.here(operation, action={"type": "offer.seen"})
        notes = [item.content for item in await alice.items() if isinstance(item, HiddenContextItem)]

    assert notes == ["Alice saw the offer"] * 2


async def test_an_action_that_fails_is_one_error_and_keeps_nothing(tmp_path: Path) -> None:
    """In a stream one readable event; its details stay with us."""

    async def fail(call: ActionCall[Nothing]) -> Outcome:
        raise RuntimeError("secret detail")

    async with talk(tmp_path, actions=ActionTable({"x": ActionRule(payload=Nothing, perform=fail)})) as alice:
        await alice.say("Hi")
        before = await alice.items()
        events = await alice.here("threads.custom_action", action={"type": "x"})
        assert await alice.items() == before

    assert kinds_of(events) == ["error"]
    assert "secret detail" not in json.dumps(events)


async def test_an_action_that_cannot_be_done_any_more_says_so(tmp_path: Path) -> None:
    """Found out only while it is done: in a stream an error with its sentence, else a 400."""

    async def refuse(call: ActionCall[Nothing]) -> Outcome:
        raise ActionInvalid("sold out")

    async with talk(tmp_path, actions=ActionTable({"x": ActionRule(payload=Nothing, perform=refuse)})) as alice:
        await alice.say("Hi")
        events = await alice.here("threads.custom_action", action={"type": "x"})
        with pytest.raises(ActionInvalid):
            await alice.here("threads.sync_custom_action", action={"type": "x"})

    assert [event["message"] for event in events if event["type"] == "error"] == [ActionInvalid.message]


async def test_a_swap_needs_what_was_seen_and_whose_it_is(engine: AsyncEngine) -> None:
    """Another title by now, another owner, no such thread: nothing is changed."""
    await migrate(engine)
    store, swaps = SqlStore(engine=engine), SqlSwaps(engine=engine)
    alice = Talk(server=build_server(store), store=store, context=context_for("alice"))
    await alice.say("First words")
    thread_id = str(alice.thread_id)

    async def replace(old: str, new: str, name: str = "alice", thread: str = thread_id) -> bool:
        return await swaps.replace_title(thread, old=old, new=new, context=context_for(name))

    assert not await replace("Something else", "Mine")
    assert not await replace("First words", "Mine", name="mallory")
    assert not await replace("First words", "Mine", thread="thr_unknown")
    assert await replace("First words", "Better")
    assert (await store.load_thread(thread_id, alice.context)).title == "Better"


def test_the_table_is_a_setting() -> None:
    """By name, as the agent is; what is no table is refused at start, with what to write."""
    assert load_actions("agent_backend.checklist:CHECKLIST_ACTIONS") is CHECKLIST_ACTIONS
    for name, words in (("agent_backend.checklist:tick", "expected an ActionTable"), ("json:nothing", "no nothing in")):
        with pytest.raises(AgentUnusable, match=words) as refused:
            load_actions(name)
        assert str(refused.value).startswith(f"actions '{name}'")


@pytest.mark.parametrize("known", [{}, {"b": ActionRule(payload=Nothing, perform=AsyncMock())}])
def test_an_unknown_action_is_told_to_the_operator_with_the_known_ones(known: dict[str, Any]) -> None:
    """In the log; the user reads one fixed sentence."""
    with pytest.raises(Problem) as refused:
        ActionTable(known).check("a", None, None, is_stream=True)

    assert str(refused.value) == f"action 'a', known: {', '.join(known) or 'none'}"
    assert "'a'" not in refused.value.message


async def test_a_click_beside_a_streamed_one_is_not_undone(engine: AsyncEngine) -> None:
    """ChatKit saves what a streamed action changed once more, without a look at what is there by then."""
    await migrate(engine)
    store = BusyStore(engine=engine)
    alice = Talk(server=build_server(store), store=store, context=context_for("alice"))
    await alice.say("Hi")
    checklist = build_checklist("Shopping", ["milk", "bread"])
    assert checklist
    widget = WidgetItem(id="msg_w", widget=draw_checklist(checklist), **{**COMMON, "thread_id": str(alice.thread_id)})
    await store.add_thread_item(widget.thread_id, widget, alice.context)

    async def other_click() -> None:
        action = {"type": "checklist.check", "payload": {"entry": 0, "done": True}}
        await alice.here("threads.sync_custom_action", item_id="msg_w", action=action)

    store.before_save = other_click
    await alice.here("threads.custom_action", item_id="msg_w", action=CHECK)
    stored = await store.load_item(widget.thread_id, "msg_w", alice.context)

    assert isinstance(stored, WidgetItem)
    assert [entry.done for entry in read_checklist(stored).entries] == [True, True]


class BusyStore(SqlStore):
    """Something happens just before an item is saved."""

    before_save: Callable[[], Awaitable[None]] | None = None

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        if self.before_save:
            await self.before_save()
        await super().save_item(thread_id, item, context)
