"""The table of operations, held to ChatKit's own request types."""

from typing import Any, get_args

import pytest
from chatkit import types

from gateway.chatkit.operations import OPERATIONS


def names(union: Any) -> set[str]:
    return {cls.model_fields["type"].default for cls in get_args(union)}


def test_the_table_is_chatkits_own() -> None:
    """Every request type of the installed ChatKit is here, streaming or not as ChatKit has it, and nothing else."""
    streaming, plain = names(types.StreamingReq), names(types.NonStreamingReq)

    assert {name: operation.streaming for name, operation in OPERATIONS.items()} == {
        name: name in streaming for name in streaming | plain
    }
    assert all(operation.name == name for name, operation in OPERATIONS.items())


def test_what_runs_a_model_costs_an_answer() -> None:
    """Limits are for kinds: an operation counted as a read by mistake would be nearly free."""
    by_kind = {kind: {name for name, it in OPERATIONS.items() if it.kind == kind} for kind in ("answer", "read")}

    assert by_kind == {
        "answer": {name for name, it in OPERATIONS.items() if it.streaming} | {"input.transcribe"},
        "read": {"threads.get_by_id", "threads.list", "items.list"},
    }


@pytest.mark.parametrize("cls", [*get_args(types.StreamingReq), *get_args(types.NonStreamingReq)])
def test_chatkit_agrees_on_what_streams(cls: Any) -> None:
    """`is_streaming_req` is what ChatKitServer decides by."""
    request = cls.model_construct(type=cls.model_fields["type"].default)

    assert OPERATIONS[request.type].streaming is types.is_streaming_req(request)
