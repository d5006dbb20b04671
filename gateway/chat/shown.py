"""What a person at a terminal is shown of an answer. Pure: events in, pieces out.

Rules: text once and as it comes, whether an agent streams it or gives it whole; what is not the answer itself is a
note; what only a page can show is told in words.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.chat.events import Event

# Characters. A longer address is the picture itself (`data:`), which nobody wants to see as text.
MAX_URL = 500
# Members of a widget that people read, in ChatKit's components.
_READ = ("title", "label", "value", "text", "placeholder")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something beside the answer: one line."""

    text: str


Shown = Text | Note


class AnswerText:
    """Reads one answer's events; keeps what it has shown of every message, because the end of one repeats its text."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._last = ""

    def take(self, event: Event) -> Iterator[Shown]:
        match event:
            case {"type": "thread.item.updated", "item_id": str(item_id), "update": {"type": str(kind)} as update}:
                yield from self._take_update(item_id, kind, update)
            case {"type": "thread.item.added" | "thread.item.done" | "thread.item.replaced" as kind, "item": item}:
                yield from self._take_item(item, whole=kind != "thread.item.added")
            case {"type": "progress_update", "text": str(text)}:
                yield Note(f"... {text}")
            case {"type": "notice", "level": str(level), "message": str(message)}:
                yield Note(f"{'notice' if level == 'info' else level}: {_titled(_member(event, 'title'), message)}")

    def _take_update(self, item_id: str, kind: str, update: Mapping[str, Any]) -> Iterator[Shown]:
        match kind, update:
            case "assistant_message.content_part.text_delta", {"content_index": int(index), "delta": str(delta)}:
                yield from self._say(item_id, index, delta)
            case (
                "assistant_message.content_part.added" | "assistant_message.content_part.done",
                {"content_index": int(index), "content": {"text": str(text)}},
            ):
                yield from self._complete(item_id, index, text, whole=kind.endswith("done"))
            case "workflow.task.added", {"task": dict(task)}:
                yield from _describe_task(task)

    def _take_item(self, item: Mapping[str, Any], *, whole: bool) -> Iterator[Shown]:
        match item:
            case {"type": "assistant_message", "id": str(item_id), "content": list(parts)}:
                for index, part in enumerate(parts):
                    yield from self._complete(item_id, index, _member(part, "text"), whole=whole)
            case {"type": "widget", "id": str(item_id), "copy_text": str(text)} if whole and text:
                yield from self._complete(item_id, 0, text, whole=True)
            case {"type": "widget", "id": str(item_id), "widget": widget} if whole:
                yield from self._complete(item_id, 0, describe_widget(widget), whole=True)
            case {"type": "generated_image", "id": str(item_id), "image": {"url": str(url)}} if whole:
                place = url if len(url) < MAX_URL else "inside the event"
                yield from self._complete(item_id, 0, f"[image: {place}]", whole=True)
            case {"type": "structured_input", "inputs": list(questions)} if whole:
                yield from (Note(f"question: {_describe_question(question)}") for question in questions)
            case {"type": "client_tool_call", "name": str(name)} if whole:
                yield Note(f"... the agent asks the page for {name}; a terminal has no tools")
            case {"type": "task", "task": dict(task)} if whole:
                yield from _describe_task(task)

    def _complete(self, item_id: str, index: int, text: str, *, whole: bool) -> Iterator[Shown]:
        """The text as the agent has it now: what was not shown yet, or all of it if it is another."""
        said = "".join(self._said.get(f"{item_id} {index}", ()))
        if text.startswith(said):
            yield from self._say(item_id, index, text.removeprefix(said))
        elif whole:
            self._said[f"{item_id} {index}"] = []
            yield Note("the agent has replaced what it said before:")
            yield from self._say(item_id, index, text)

    def _say(self, item_id: str, index: int, text: str) -> Iterator[Shown]:
        if not text:
            return
        part = f"{item_id} {index}"
        if self._last and self._last != part:
            yield Text("\n\n")
        self._last = part
        self._said.setdefault(part, []).append(text)
        yield Text(text)


def choices(question: object) -> list[str]:
    """What a form's question offers; empty where it offers nothing."""
    match question:
        case {"options": list(options)}:
            return [value for option in options if (value := _member(option, "value"))]
    return []


def describe_widget(widget: object) -> str:
    """The words in a widget, one line each, in their order."""
    return "\n".join(_words(widget))


def _words(widget: object) -> Iterator[str]:
    # A stack, because nobody bounds how deep a widget is.
    rest = [widget]
    while rest:
        match rest.pop():
            case list(members):
                rest.extend(reversed(members))
            case dict(component):
                yield from (text for name in _READ if (text := _member(component, name)))
                rest.extend(reversed([member for member in component.values() if isinstance(member, list | dict)]))


def _member(value: object, name: str) -> str:
    """The text under this name; empty if there is none."""
    text = value.get(name) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def _describe_task(task: Mapping[str, Any]) -> Iterator[Note]:
    words = _titled(_member(task, "title"), _member(task, "content"))
    if words:
        yield Note(f"... {words}")


def _titled(title: str, text: str) -> str:
    return f"{title}: {text}" if title and text else title or text


def _describe_question(question: object) -> str:
    offered = choices(question)
    return _member(question, "question") + (f" ({', '.join(offered)})" if offered else "")


# C0 without tab and line feed, DEL, C1: what moves a cursor, rings, or retitles a window.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_controls(text: str) -> str:
    """Text that a terminal prints and does not obey: an answer may quote what a stranger wrote."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
