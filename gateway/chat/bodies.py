"""ChatKit requests that a terminal makes. Pure.

``metadata`` stands at the top level of a body, where the gateway and the backend read it; an empty one is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]


def create_body(text: str, **metadata: Any) -> Body:
    """`threads.create`: a new thread that begins with this message."""
    return _body("threads.create", {"input": _message(text)}, metadata)


def message_body(thread_id: str, text: str, **metadata: Any) -> Body:
    """`threads.add_user_message`: the next message of a thread."""
    return _body("threads.add_user_message", {"thread_id": thread_id, "input": _message(text)}, metadata)


def retry_body(thread_id: str, item_id: str, **metadata: Any) -> Body:
    """`threads.retry_after_item`: answer this message once more."""
    return _body("threads.retry_after_item", {"thread_id": thread_id, "item_id": item_id}, metadata)


def tool_output_body(thread_id: str, result: Mapping[str, Any], **metadata: Any) -> Body:
    """`threads.add_client_tool_output`: what the client's tool gave."""
    return _body("threads.add_client_tool_output", {"thread_id": thread_id, "result": result}, metadata)


def answers_body(thread_id: str, item_id: str, answers: Mapping[str, Sequence[str]], **metadata: Any) -> Body:
    """`threads.add_structured_input`: the form with ``answers`` by question; one without values was skipped."""
    given = {name: {"values": list(values), "skipped": not values} for name, values in answers.items()}
    status = "answered" if any(answers.values()) else "skipped"
    form = {"status": status, "answers": given}
    return _body("threads.add_structured_input", {"thread_id": thread_id, "item_id": item_id, "input": form}, metadata)


def _message(text: str) -> Mapping[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def _body(operation: str, params: Mapping[str, Any], metadata: Mapping[str, Any]) -> Body:
    body = {"type": operation, "params": params}
    return {**body, "metadata": metadata} if metadata else body
