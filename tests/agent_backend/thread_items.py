"""Thread items for tests, one call each, and what a model reads of them as lines."""

from datetime import UTC, datetime
from typing import Any

from agents import TResponseInputItem
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    InferenceOptions,
    UserMessageItem,
    UserMessageTextContent,
)

COMMON: dict[str, Any] = {"thread_id": "thr_1", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}


def said(text: str, **changes: Any) -> UserMessageItem:
    fixed = {"id": f"msg_{text[:20]}", "inference_options": InferenceOptions(), **COMMON}
    return UserMessageItem(**{**fixed, "content": [UserMessageTextContent(text=text)], **changes})


def answered(text: str) -> AssistantMessageItem:
    return AssistantMessageItem(id=f"msg_a{text[:20]}", content=[AssistantMessageContent(text=text)], **COMMON)


def called(status: str, output: Any = None) -> ClientToolCallItem:
    call: dict[str, Any] = {"call_id": "c1", "name": "t", "arguments": {"a": 1}, "output": output or {"b": 2}}
    return ClientToolCallItem(id="tc_1", status=status, **call, **COMMON)


def line_of(part: TResponseInputItem) -> str:
    """``role: text|text``, or the item's type."""
    known: dict[str, Any] = dict(part)
    if "role" not in known:
        return str(known["type"])
    content = known["content"]
    texts = [content] if isinstance(content, str) else [entry.get("text", entry["type"]) for entry in content]
    return f"{known['role']}: {'|'.join(texts)}"
