"""What the offline model does when it is asked for something: as tables."""

from typing import Any

import pytest
from agents import Agent, Runner, Tool, function_tool

from agent_backend.history import PAGE_CLOSING, PAGE_OPENING
from agent_backend.models import build_run_config
from agent_backend.offline_model import OfflineModel
from agent_backend.offline_plan import DEFAULT_ENTRIES, MAX_ENTRIES, PHRASES, plan_call
from agent_backend.tools import TOOLS


def user(*texts: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text} for text in texts]}


@function_tool
def add(a: int, b: int, note: str, exactly: bool, parts: list[str]) -> str:
    """Any tool."""
    return f"{a} {b} {note} {exactly} {parts}"


def planned(text: str, *after: Any, tools: tuple[Tool, ...] = TOOLS, choice: str | None = None) -> Any:
    call = plan_call([user(text), *after], tools, choice)
    return (call.name, dict(call.arguments)) if call else None


@pytest.mark.parametrize("phrase", PHRASES, ids=[phrase.tool for phrase in PHRASES])
def test_each_phrase_calls_its_tool(phrase: Any) -> None:
    """As it is written in the list, in any case, inside of a sentence."""
    assert planned(phrase.say)[0] == phrase.tool
    assert planned(f"Hello! {phrase.say.upper()}")[0] == phrase.tool


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "What is my name, and which page am I on?",
        "What did I say?",
        "My favourite colour is teal.",
        "It is dark outside.",
        "help",
        "call add",
        "call add {",
        "call add [1]",
    ],
)
def test_other_words_call_nothing(text: str) -> None:
    """Whoever just talks is talked to."""
    assert planned(text) is None


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a checklist", DEFAULT_ENTRIES),
        ("checklist: a, b;c\nd", ["a", "b", "c", "d"]),
        ("checklist: " + "x," * 50, ["x"] * MAX_ENTRIES),
    ],
)
def test_a_checklist_has_the_users_entries(text: str, entries: list[str]) -> None:
    """What stands after the colon, bounded."""
    assert planned(text)[1]["entries"] == entries


def test_a_phrase_counts_only_when_nothing_came_after_it() -> None:
    """A tool's output, a form or a note is answered, and the tool is not called again."""
    output = {"type": "function_call_output", "call_id": "c", "output": "ok"}
    note = user("Hidden context:\n<HiddenContext>\nx\n</HiddenContext>")

    assert planned("checklist", output) is None
    assert planned("checklist", note) is None
    assert planned("checklist", {"role": "assistant", "content": "There."}) is None
    assert plan_call([user(f"{PAGE_OPENING}{{}}{PAGE_CLOSING}"), user("checklist")], TOOLS) is not None
    assert plan_call([], TOOLS) is None


def test_a_tool_that_is_not_there_is_not_called() -> None:
    """The same model serves an agent with other tools."""
    assert planned("checklist", tools=()) is None
    assert planned("Hi", tools=(), choice="show_checklist") is None


def test_a_chosen_tool_goes_before_the_words() -> None:
    """With the phrase's arguments where it has a phrase, else with what its schema asks for."""
    assert planned("dark mode", choice="show_checklist")[0] == "show_checklist"
    assert planned("Hi", tools=(add,), choice="add") == (
        "add",
        {"a": 1, "b": 1, "note": "Hi", "exactly": True, "parts": []},
    )


def test_any_tool_can_be_called_by_its_name() -> None:
    """With the arguments that are given."""
    assert planned('call add {"a": 2}', tools=(add,)) == ("add", {"a": 2})
    assert planned("call add", tools=(add,)) == ("add", {})


async def test_a_call_goes_through_the_sdk() -> None:
    """Streamed or not: the tool runs, and what it gave is told."""
    agent = Agent(name="a", tools=[add], model=OfflineModel(word_delay=0))
    config = build_run_config(export_traces=False)
    text = 'call add {"a": 2, "b": 3, "note": "n", "exactly": false, "parts": []}'

    whole = await Runner.run(agent, text, run_config=config)
    streamed = Runner.run_streamed(agent, text, run_config=config)
    kinds = [event.data.type async for event in streamed.stream_events() if event.type == "raw_response_event"]

    assert whole.final_output == streamed.final_output == "add gave me this: 2 3 n False []"
    assert kinds[:4] == [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ]


async def test_it_lists_only_what_it_can_show() -> None:
    """An agent without our tools is told so."""
    config = build_run_config(export_traces=False)
    agents = [Agent(name="a", tools=tools, model=OfflineModel(word_delay=0)) for tools in ([], list(TOOLS[:1]))]

    nothing, one = [(await Runner.run(agent, "Help!", run_config=config)).final_output for agent in agents]

    assert "none of the tools" in nothing
    assert [phrase.say in one for phrase in PHRASES] == [True, False, False, False, False]
