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

# Characters repeated from an earlier message.
MAX_QUOTE = 300


def compose_answer(instructions: str, items: str | Sequence[TResponseInputItem]) -> str:
    """The answer to the last message of the user, from what the model was given."""
    texts = [items] if isinstance(items, str) else list(user_texts(items))
    page = next((read_page_facts(text) for text in reversed(texts) if PAGE_OPENING in text), {})
    said = [text for text in texts if PAGE_OPENING not in text and "<HiddenContext>" not in text]
    return " ".join(
        [
            "I am the offline model: no language model is connected, so I can only tell you what I was given.",
            describe_user(dict(read_facts(instructions))),
            describe_page(page),
            describe_earlier(said[:-1]),
        ]
    )


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
    return "\n".join(part["text"] for part in content or [] if part.get("type") == "input_text")


def read_facts(instructions: str) -> Iterator[tuple[str, str]]:
    """The verified facts: the lines ``- name: "Alice"``."""
    for name, value in re.findall(r'^- (\w+): (".*")$', instructions, re.MULTILINE):
        yield name, json.loads(value)


def read_page_facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(text.partition(PAGE_OPENING)[2].partition(PAGE_CLOSING)[0])
    return facts
