"""The table of operations, held to ChatKit's own request types."""

from typing import Any, get_args

import pytest
from chatkit import types

from gateway.chatkit.operations import OPERATIONS, Operation


def names(union: Any) -> set[str]:
    return {cls.model_fields["type"].default for cls in get_args(union)}


def test_the_table_is_chatkits_own() -> None:
    """Every request type of the installed ChatKit is here, streaming or not as ChatKit has it, and nothing else."""
    streaming, plain = names(types.StreamingReq), names(types.NonStreamingReq)

    expected = {name: Operation(name=name, streaming=name in streaming) for name in streaming | plain}
    assert expected == OPERATIONS


@pytest.mark.parametrize("cls", [*get_args(types.StreamingReq), *get_args(types.NonStreamingReq)])
def test_chatkit_agrees_on_what_streams(cls: Any) -> None:
    """`is_streaming_req` is what ChatKitServer decides by."""
    request = cls.model_construct(type=cls.model_fields["type"].default)

    assert OPERATIONS[request.type].streaming is types.is_streaming_req(request)
