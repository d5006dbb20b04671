"""What the offline model says: what it was given, told back.

Rules: pure; from the instructions and the input items alone, so that each thing it says is proof of what reached the
model. It says first that no language model is connected.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from agents import TResponseInputItem

from agent_backend.history import PAGE_CLOSING, PAGE_OPENING

# Characters repeated from an earlier message, and from what a tool or a form gave.
MAX_QUOTE = 300
MAX_RESULT = 1000
TEXTS = ("input_text", "output_text")
# What stands in a message of the user's role that the user did not write.
MARKS = (PAGE_OPENING, "<HiddenContext>", "<Widget>", "<StructuredInput>", "<Steps>")


def compose_answer(instructions: str, items: str | Sequence[TResponseInputItem]) -> str:
    """The answer to what came last, from what the model was given."""
    texts = [items] if isinstance(items, str) else list(user_texts(items))
    result = None if isinstance(items, str) else describe_result(items)
    if result:
        return result
    page = next((read_page_facts(text) for text in reversed(texts) if PAGE_OPENING in text), {})
    said = [text for text in texts if is_said(text)]
    return " ".join(
        [
            "I am the offline model: no language model is connected, so I can only tell you what I was given.",
            describe_user(dict(read_facts(instructions))),
            describe_page(page),
            *describe_mentions(said[-1:]),
            describe_earlier(said[:-1]),
        ]
    )


def is_said(text: str) -> bool:
    """The user wrote it themselves."""
    return not any(mark in text for mark in MARKS) and not text.startswith("(")


def said_last(items: str | Sequence[TResponseInputItem]) -> str | None:
    """The user's message when it is the last thing there is; None when something came after it."""
    if isinstance(items, str):
        return items
    last = list(user_texts(items[-1:]))
    return last[0] if last and is_said(last[0]) else None


def describe_result(items: Sequence[TResponseInputItem]) -> str | None:
    """What a tool, a form or a button gave, when that came last."""
    last: Any = items[-1] if items else {}
    if last.get("type") == "function_call_output":
        calls: list[Any] = list(items)
        names = {call["call_id"]: call["name"] for call in calls if call.get("type") == "function_call"}
        return f"{names.get(last['call_id'], 'The tool')} gave me this: {text_of(last['output'])[:MAX_RESULT]}"
    text = next(user_texts([last]), "")
    for mark, opening in (("StructuredInput", "Thank you. You answered:"), ("HiddenContext", "I was told:")):
        if f"<{mark}>" in text:
            inner = text.partition(f"<{mark}>")[2].partition(f"</{mark}>")[0].strip()
            return f"{opening}\n\n{inner[:MAX_RESULT]}"
    return None


def describe_mentions(said: Sequence[str]) -> Iterator[str]:
    """What the composer's tags stand for."""
    for name, known in re.findall(r"^@(.+?) stands for: (\{.*)$", "\n".join(said), re.MULTILINE):
        yield f"You mentioned {name}, which came with {known[:MAX_QUOTE]}."


def describe_user(facts: dict[str, str]) -> str:
    if not facts:
        return "I was not told who you are."
    known = facts.get("name") or facts.get("email") or facts.get("id", "")
    others = [f"{name} {value}" for name, value in facts.items() if name in ("email", "roles") and value != known]
    return f"Your name is {known}{' (' + '; '.join(others) + ')' if others else ''}, as the gateway verified."


def describe_page(page: dict[str, Any]) -> str:
    place = page.get("url") or page.get("path")
    if page.get("title"):
        return f"You are on the page “{page['title']}”{f' at {place}' if place else ''}."
    return f"You are on the page {place}." if place else "I was not told which page you are on."


def describe_earlier(said: Sequence[str]) -> str:
    if not said:
        return "This is your first message here."
    count = "one earlier message" if len(said) == 1 else f"{len(said)} earlier messages"
    return f"I see {count} of yours. Before this you said: “{said[-1][:MAX_QUOTE]}”"


def user_texts(items: Sequence[TResponseInputItem]) -> Iterator[str]:
    """The text of each message of the user's, in order."""
    for item in items:
        if item.get("role") == "user":
            yield text_of(item.get("content"))


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if part.get("type") in TEXTS)


def read_facts(instructions: str) -> Iterator[tuple[str, str]]:
    """The verified facts: the lines ``- name: "Alice"``."""
    for name, value in re.findall(r'^- (\w+): (".*")$', instructions, re.MULTILINE):
        yield name, json.loads(value)


def read_page_facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(text.partition(PAGE_OPENING)[2].partition(PAGE_CLOSING)[0])
    return facts
