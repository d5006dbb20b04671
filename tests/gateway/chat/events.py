"""What a ChatKit server sends, for tests: events, and the bytes of a stream of them."""

import json
from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]

CREATED: Event = {"type": "thread.created", "thread": {"id": "thr_1"}}
QUESTION: Event = {"type": "thread.item.done", "item": {"type": "user_message", "id": "msg_q"}}


def begun(item_id: str = "msg_a") -> Event:
    return {"type": "thread.item.added", "item": {"type": "assistant_message", "id": item_id, "content": []}}


def delta(text: str, *, item_id: str = "msg_a", index: int = 0) -> Event:
    kind = "assistant_message.content_part.text_delta"
    return {
        "type": "thread.item.updated",
        "item_id": item_id,
        "update": {"type": kind, "content_index": index, "delta": text},
    }


def done(text: str, *, item_id: str = "msg_a") -> Event:
    return item("assistant_message", id=item_id, content=[{"type": "output_text", "text": text}])


def item(kind: str, **members: Any) -> Event:
    return {"type": "thread.item.done", "item": {"type": kind, **members}}


def failed(message: str | None, *, retry: bool = False) -> Event:
    return {"type": "error", "code": "custom", "message": message, "allow_retry": retry}


def frame(event: Event) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def stream(*events: Event) -> bytes:
    return b"".join(map(frame, events))


ANSWER = (CREATED, QUESTION, begun(), delta("Hel"), delta("lo"), done("Hello"))
