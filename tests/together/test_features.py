"""What users of a chat expect, through the running gateway: decoded by ChatKit's own types."""

from pathlib import Path
from typing import Any

import httpx
from agents.testing import ScriptedModel, assistant_message, function_call
from chatkit.types import ThreadItem, ThreadStreamEvent

from tests.together.world import Browser, answer_text, thread_id, user_input, world


def finished(events: list[ThreadStreamEvent], kind: str) -> Any:
    """The one item of that kind which an answer finished."""
    items: list[ThreadItem] = [event.item for event in events if event.type == "thread.item.done"]
    found = [item for item in items if item.type == kind]
    assert len(found) == 1, [item.type for item in items]
    return found[0]


def only(events: list[ThreadStreamEvent], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def choosing(browser: Browser, **options: Any) -> httpx.Response:
    return browser.send("threads.create", input={**user_input("Hello"), "inference_options": options})


def test_progress_effects_and_titles_reach_the_page(tmp_path: Path) -> None:
    """In the order they happened, before the words of the answer."""
    with world(tmp_path) as running:
        alice = running.browser(page={"title": "Orders"})
        checked = alice.say("check my connection")
        effects = only(alice.say("switch to dark mode"), "client_effect")
        titles = [thread["title"] for thread in alice.send("threads.list").json()["data"]]

    kinds = [event.type for event in checked]
    assert kinds.index("thread.updated") < kinds.index("progress_update") < kinds.index("thread.item.added")
    assert "signed in as Alice; on the page Orders" in answer_text(checked)
    assert [(effect.name, effect.data) for effect in effects] == [("set_theme", {"theme": "dark"})]
    assert titles == ["switch to dark mode", "check my connection"]


def test_the_page_answers_a_client_tool(tmp_path: Path) -> None:
    """Its result comes back through the gateway, and the answer goes on; a second result is 409."""
    with world(tmp_path) as running:
        alice = running.browser()
        asked = alice.say("What time is it here?")
        thread = thread_id(asked)
        told = alice.stream("threads.add_client_tool_output", thread_id=thread, result={"time_zone": "Asia/Tokyo"})
        again = alice.send("threads.add_client_tool_output", thread_id=thread, result={})

    assert finished(asked, "client_tool_call").name == "get_time_zone"
    assert "Asia/Tokyo" in answer_text(told)
    assert (again.status_code, bool(again.json()["message"])) == (409, True)


def test_a_widget_is_clicked(tmp_path: Path) -> None:
    """Ticked in one answer, finished in a stream, kept; not by somebody else, and not with an action of their own."""
    with world(tmp_path) as running:
        alice, bob = running.browser("alice"), running.browser("bob")
        shown = alice.say("Make a checklist: milk, bread")
        thread, widget = thread_id(shown), finished(shown, "widget").id
        click = {"thread_id": thread, "item_id": widget}
        tick = {"type": "checklist.check", "payload": {"entry": 0, "done": True}}
        ticked = alice.send("threads.sync_custom_action", **click, action=tick).json()
        refused = [
            bob.send("threads.sync_custom_action", **click, action=tick),
            bob.send("threads.custom_action", **click, action={"type": "checklist.finish"}),
            alice.send("threads.custom_action", **click, action={"type": "checklist.explode"}),
            alice.send("threads.custom_action", **click, action={"type": "checklist.check", "payload": {"entry": 9}}),
        ]
        done = alice.stream("threads.custom_action", **click, action={"type": "checklist.finish"})
        kept = alice.send("items.list", thread_id=thread, order="asc").json()["data"]

    assert ticked["updated_item"]["copy_text"] == "Checklist\n[x] milk\n[ ] bread"
    assert [answer.status_code for answer in refused] == [404, 404, 400, 400]
    assert [answer.json()["code"] for answer in refused[2:]] == ["action_unknown", "action_invalid"]
    assert "1 of 2 done" in answer_text(done)
    assert [item["type"] for item in kept] == ["user_message", "widget", "assistant_message", "assistant_message"]
    assert kept[1]["copy_text"] == "Checklist\n[x] milk\n[ ] bread"


def test_a_form_is_filled_in(tmp_path: Path) -> None:
    """Pending, sent, answered with what was sent."""
    with world(tmp_path) as running:
        alice = running.browser()
        asked = alice.say("Ask me some questions.")
        form = finished(asked, "structured_input")
        answers = {"q1": {"values": ["An order"]}, "q2": {"skipped": True}}
        sent = alice.stream(
            "threads.add_structured_input",
            thread_id=thread_id(asked),
            item_id=form.id,
            input={"status": "answered", "answers": answers},
        )

    assert form.status == "pending"
    assert [event.item.status for event in only(sent, "thread.item.replaced")] == ["answered"]
    assert "What is it about?: An order" in answer_text(sent)


def test_what_is_chosen_in_the_composer_counts_when_it_is_offered(tmp_path: Path) -> None:
    """A tool of the agent's is used; another tool or model is a 400 in JSON, and no conversation is begun."""
    with world(tmp_path) as running:
        alice = running.browser()
        chosen = choosing(alice, tool_choice={"id": "show_checklist"})
        refused = [choosing(alice, tool_choice={"id": "rm"}), choosing(alice, model="gpt-expensive")]
        threads = alice.send("threads.list").json()["data"]

    assert '"widget"' in chosen.text
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [
        (400, "tool_not_offered"),
        (400, "model_not_offered"),
    ]
    assert len(threads) == 1


def test_an_opinion_is_kept_for_ones_own_answers(tmp_path: Path) -> None:
    """Twice, and changed; never for somebody else's."""
    with world(tmp_path) as running:
        alice, bob = running.browser("alice"), running.browser("bob")
        events = alice.say("Hello")
        about = {"thread_id": thread_id(events), "item_ids": [finished(events, "assistant_message").id]}
        own = [alice.send("items.feedback", **about, kind=kind) for kind in ("positive", "positive", "negative")]
        foreign = bob.send("items.feedback", **about, kind="positive")

    assert [answer.status_code for answer in own] == [200, 200, 200]
    assert foreign.status_code == 404


def test_a_real_models_tool_calls_do_the_same(tmp_path: Path) -> None:
    """A model that calls a tool, reads what it gave, and speaks."""
    arguments = '{"title": "Shopping", "entries": ["tea"]}'
    model = ScriptedModel(
        [
            [function_call("show_checklist", arguments, call_id="call_1")],
            [assistant_message("Here is your list.")],
            [assistant_message("Well done.")],
        ]
    )
    with world(tmp_path, model=model) as running:
        alice = running.browser()
        shown = alice.say("A shopping list, please.")
        widget = finished(shown, "widget")
        done = alice.stream(
            "threads.custom_action",
            thread_id=thread_id(shown),
            item_id=widget.id,
            action={"type": "checklist.finish", "payload": {}},
        )

    assert answer_text(shown) == "Here is your list."
    assert answer_text(done) == "Well done."
    assert "sees a checklist with 1 entries" in str(model.calls[1].input)
    assert "pressed “Done”" in str(model.calls[2].input)
