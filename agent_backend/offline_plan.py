"""What the offline model does when it is asked for something: a handful of plain phrases, each a real tool call.

Rules: pure; a phrase counts only in the user's latest message, when nothing came after it, and only where the agent has
the tool, so that the same model serves an agent with other tools. A tool chosen in the composer goes before any phrase.
`call NAME {…}` calls any tool with these arguments.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents import FunctionTool, Tool, TResponseInputItem

from agent_backend.offline_answer import said_last

# Characters of the user's words that become an argument.
MAX_WORDS = 500
MAX_ENTRIES = 10
DEFAULT_ENTRIES = ["Read the guide", "Try the buttons", "Tell a colleague"]
QUESTIONS = [
    {"question": "What is it about?", "options": ["An order", "An invoice", "Something else"]},
    {"question": "Tell me more.", "options": []},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool's name and the arguments to call it with."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """``say`` is an example for people; ``see`` what it shows them."""

    tool: str
    say: str
    see: str
    pattern: re.Pattern[str]
    arguments: Callable[[str], Mapping[str, Any]] = lambda text: {}


def phrase(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def entries_in(text: str) -> Mapping[str, Any]:
    """``make a checklist: milk, bread`` has two; without any, three that are always the same."""
    listed = re.split(r"[,\n;]", text[:MAX_WORDS].partition(":")[2])
    entries = [entry.strip() for entry in listed if entry.strip()][:MAX_ENTRIES]
    return {"title": "Checklist", "entries": entries or DEFAULT_ENTRIES}


PHRASES = (
    Phrase(
        tool="check_setup",
        say="check my connection",
        see="progress updates while it looks, then what it found",
        pattern=phrase(r"\bcheck (my|the|this) (connection|set-?up)\b"),
    ),
    Phrase(
        tool="set_theme",
        say="switch to dark mode",
        see="a client effect: the page changes its colours (also: light mode)",
        pattern=phrase(r"\b(dark|light) (mode|theme|colou?rs)\b"),
        arguments=lambda text: {"theme": "light" if re.search(r"\blight\b", text, re.IGNORECASE) else "dark"},
    ),
    Phrase(
        tool="get_time_zone",
        say="what time is it here",
        see="a client tool: your browser is asked, and the answer goes on with its result",
        pattern=phrase(r"\b(what time is it|(my|which) time ?zone)\b"),
    ),
    Phrase(
        tool="show_checklist",
        say="make a checklist: milk, bread, tea",
        see="a widget: ticks are kept on the server, Copy is done by the page, Done makes the assistant answer",
        pattern=phrase(r"\bcheck ?list\b"),
        arguments=entries_in,
    ),
    Phrase(
        tool="ask_user",
        say="ask me some questions",
        see="structured input: a form, and an answer when you have sent or skipped it",
        pattern=phrase(r"\bask me\b"),
        arguments=lambda text: {"questions": QUESTIONS},
    ),
)
HELP = phrase(r"^\W*help\W*$|\bwhat can you (do|show)\b")
DIRECT = re.compile(r"^\s*call ([\w.-]+)\s*(\{.*\})?\s*$", re.DOTALL)


def plan_call(
    items: str | Sequence[TResponseInputItem], tools: Sequence[Tool], tool_choice: str | None = None
) -> Call | None:
    """The tool to call now, or None: then it is time to talk."""
    text = said_last(items)
    if text is None:
        return None
    there = {tool.name: tool for tool in tools}
    if tool_choice is not None and tool_choice in there:
        return by_phrase(text, [tool_choice]) or default_call(there[tool_choice], text)
    return direct_call(text, there) or by_phrase(text, there, must_match=True)


def by_phrase(text: str, names: Collection[str], *, must_match: bool = False) -> Call | None:
    for row in PHRASES:
        if row.tool in names and (not must_match or row.pattern.search(text)):
            return Call(name=row.tool, arguments=row.arguments(text))
    return None


def direct_call(text: str, names: Collection[str]) -> Call | None:
    match = DIRECT.match(text)
    if match is None or match[1] not in names:
        return None
    try:
        return Call(name=match[1], arguments=dict(json.loads(match[2] or "{}")))
    except (ValueError, TypeError):
        return None


def default_call(tool: Tool, text: str) -> Call:
    """Any tool, with what its schema asks for: the user's words where a text is wanted."""
    schema = tool.params_json_schema if isinstance(tool, FunctionTool) else {}
    properties = schema.get("properties", {})
    return Call(
        name=tool.name,
        arguments={name: value_for(properties.get(name, {}), text) for name in schema.get("required", [])},
    )


def value_for(schema: Mapping[str, Any], text: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    values: dict[str, Any] = {"string": text[:MAX_WORDS], "array": [], "object": {}, "boolean": True}
    return values.get(str(schema.get("type")), 1)


def describe_abilities(tools: Collection[str]) -> str:
    """What can be shown, as a list: phrases of the tools that are there."""
    rows = [row for row in PHRASES if row.tool in tools]
    if not rows:
        return "I can tell you what I was given; this assistant has none of the tools that I know phrases for."
    lines = "\n".join(f"- “{row.say}”: {row.see}" for row in rows)
    return f"I am the offline model. Say one of these, and I will show you what it does:\n\n{lines}"
