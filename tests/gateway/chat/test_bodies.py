"""The requests, held to ChatKit's own types."""

from typing import Any

import pytest
from chatkit.types import ChatKitReq
from pydantic import TypeAdapter

from gateway.chat.bodies import Body, answers_body, create_body, message_body, retry_body, tool_output_body

PAGE = {"pageContext": {"path": "/orders"}}


@pytest.mark.parametrize(
    ("body", "params"),
    [
        (create_body("Hi", **PAGE), {"input.content": "Hi"}),
        (message_body("thr_1", "Hi", **PAGE), {"thread_id": "thr_1", "input.content": "Hi"}),
        (retry_body("thr_1", "msg_1", **PAGE), {"thread_id": "thr_1", "item_id": "msg_1"}),
        (tool_output_body("thr_1", {"error": "none"}, **PAGE), {"thread_id": "thr_1", "result": {"error": "none"}}),
        (answers_body("thr_1", "sti_1", {"a": ["x"]}, **PAGE), {"thread_id": "thr_1", "item_id": "sti_1"}),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else None,
)
def test_chatkit_reads_every_body(body: Body, params: dict[str, Any]) -> None:
    """Nothing is missing, nothing is unknown to it, and the metadata stands where it is looked for."""
    request: Any = TypeAdapter[Any](ChatKitReq).validate_python(body)

    assert (request.type, request.metadata) == (body["type"], PAGE)
    assert request.model_dump(exclude_unset=True) == dict(body)
    for name, value in params.items():
        assert value == (request.params.input.content[0].text if name == "input.content" else body["params"][name])


def test_no_metadata_is_no_member() -> None:
    """An empty object would say the same in more bytes."""
    assert "metadata" not in create_body("Hi")


def test_a_form_without_an_answer_was_skipped() -> None:
    """Question by question, and as a whole."""
    some = answers_body("thr_1", "sti_1", {"a": ["x"], "b": []})["params"]["input"]
    none = answers_body("thr_1", "sti_1", {"a": []})["params"]["input"]

    assert some == {
        "status": "answered",
        "answers": {"a": {"values": ["x"], "skipped": False}, "b": {"values": [], "skipped": True}},
    }
    assert none == {"status": "skipped", "answers": {"a": {"values": [], "skipped": True}}}
