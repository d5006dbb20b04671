"""What a person is shown of an answer."""

from typing import Any

import pytest

from gateway.chat.shown import AnswerText, Note, Shown, Text, describe_widget, without_controls
from tests.gateway.chat.events import ANSWER, CREATED, QUESTION, Event, begun, delta, done, item

TOOL = "... the agent asks the page for {}; a terminal has no tools"


def shown(*events: Event) -> list[Shown]:
    answer = AnswerText()
    return [piece for event in events for piece in answer.take(event)]


def part(kind: str, text: str) -> Event:
    update = {"type": f"assistant_message.content_part.{kind}", "content_index": 0, "content": {"text": text}}
    return {"type": "thread.item.updated", "item_id": "msg_a", "update": update}


def task(**members: Any) -> Event:
    update = {"type": "workflow.task.added", "task_index": 0, "task": members}
    return {"type": "thread.item.updated", "item_id": "wf_1", "update": update}


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        (ANSWER, ["Hel", "lo"]),
        ((begun(), part("added", "Hel"), delta("lo"), part("done", "Hello"), done("Hello")), ["Hel", "lo"]),
        ((QUESTION, done("Hello")), ["Hello"]),
        ((begun(), delta("Hel"), done("Hello")), ["Hel", "lo"]),
        ((done("one", item_id="a"), done("two", item_id="b")), ["one", "\n\n", "two"]),
        ((delta("one"), delta("two", index=1)), ["one", "\n\n", "two"]),
    ],
    ids=["streamed", "by parts", "whole", "with a rest", "two messages", "two parts"],
)
def test_text_is_shown_once_and_as_it_comes(events: tuple[Event, ...], pieces: list[str]) -> None:
    """However the agent gives it."""
    assert shown(*events) == [Text(piece) for piece in pieces]


def test_a_text_that_turns_out_otherwise_is_shown_again() -> None:
    """What was printed cannot be taken back, but it can be corrected."""
    assert shown(delta("I thnk"), done("I think")) == [
        Text("I thnk"),
        Note("the agent has replaced what it said before:"),
        Text("I think"),
    ]


@pytest.mark.parametrize(
    ("event", "piece"),
    [
        ({"type": "progress_update", "text": "Looking"}, Note("... Looking")),
        ({"type": "notice", "level": "info", "message": "Slow today"}, Note("notice: Slow today")),
        (
            {"type": "notice", "level": "danger", "message": "Last one", "title": "Limit"},
            Note("danger: Limit: Last one"),
        ),
        (task(title="Search", content="orders"), Note("... Search: orders")),
        (item("task", task={"title": "Search"}), Note("... Search")),
        (item("generated_image", id="i", image={"url": "https://x.test/i"}), Text("[image: https://x.test/i]")),
        (item("generated_image", id="i", image={"url": "data:" + "x" * 999}), Text("[image: inside the event]")),
        (item("widget", id="w", widget={"type": "Card"}, copy_text="milk, eggs"), Text("milk, eggs")),
        (
            item("client_tool_call", name="get_time_zone"),
            Note(TOOL.format("get_time_zone")),
        ),
        (
            item("structured_input", inputs=[{"question": "Which?", "options": [{"value": "A"}, {"value": "B"}]}]),
            Note("question: Which? (A, B)"),
        ),
        (item("structured_input", inputs=[{"question": "More?"}]), Note("question: More?")),
    ],
)
def test_everything_else_is_told_in_words(event: Event, piece: Shown) -> None:
    """What belongs to the answer as text, what goes on beside it as a note."""
    assert shown(event) == [piece]


@pytest.mark.parametrize(
    "event",
    [
        CREATED,
        QUESTION,
        {"type": "client_effect", "name": "set_theme", "data": {}},
        {"type": "error", "message": "said where the answer ends"},
        {"type": "thread.item.updated", "item_id": 1, "update": {"type": "x"}},
        {"type": "thread.item.done", "item": None},
        {"type": "of tomorrow"},
        task(type="image"),
    ],
)
def test_the_rest_is_not_shown(event: Event) -> None:
    """It is for programs, or is said by somebody else, or is of a kind not known yet."""
    assert shown(event) == []


def test_a_widget_that_cannot_be_copied_is_read_out() -> None:
    """Its words, in their order, and nothing of its looks."""
    widget = {
        "type": "Card",
        "size": "md",
        "children": [
            {"type": "Title", "value": "Orders"},
            {"type": "Row", "children": [{"type": "Badge", "label": "2"}]},
        ],
        "confirm": {"label": "Send", "action": {"type": "send", "payload": {}}},
    }

    assert describe_widget(widget) == "Orders\n2\nSend"
    assert describe_widget(None) == ""


def test_no_shape_of_an_event_is_a_traceback() -> None:
    """A server that sends nonsense gets nothing shown."""
    deep: Any = {"label": "here"}
    for _ in range(5000):
        deep = [deep]
    nonsense: Any = (None, 7, "x", [], {}, [None], {"a": None}, [[7]], [{"text": 7, "value": 7, "question": 7}])
    kinds = ("assistant_message", "widget", "generated_image", "structured_input", "client_tool_call", "task")
    members = ("content", "widget", "image", "inputs", "name", "task", "copy_text")
    events = [item(kind, id="a", **{member: value}) for kind in kinds for member in members for value in nonsense]

    assert {piece for event in events for piece in shown(event)} <= {
        Text("x"),
        Note("question: "),
        Note(TOOL.format("x")),
    }
    assert describe_widget(deep) == "here"


def test_a_terminal_is_not_told_what_to_do() -> None:
    """An answer may quote a stranger; colours, titles, cursor moves and bells are not obeyed."""
    assert without_controls("a\x1b[2Jb\r\x07\x9bc\x7f\n\td é 😀") == "a�[2Jb���c�\n\td é 😀"
