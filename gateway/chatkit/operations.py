"""The ChatKit operations, which of them stream, and what they cost. A table; nothing else.

Source: the request types of the ChatKit server library, held to it by a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A ChatKit request type.

    Attributes:
        streaming: It is answered with an event stream.
        kind: What it costs: `answer` runs a model, `write` changes what is stored, `read` does neither.
    """

    name: str
    streaming: bool
    kind: Literal["answer", "read", "write"]


_STREAMING = (
    "threads.create",
    "threads.add_user_message",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.retry_after_item",
    "threads.custom_action",
)
_READING = ("threads.get_by_id", "threads.list", "items.list")
_WRITING = (
    "threads.update",
    "threads.delete",
    "threads.sync_custom_action",
    "items.feedback",
    "attachments.create",
    "attachments.delete",
)

OPERATIONS: Final[Mapping[str, Operation]] = {
    **{name: Operation(name=name, streaming=True, kind="answer") for name in _STREAMING},
    **{name: Operation(name=name, streaming=False, kind="read") for name in _READING},
    **{name: Operation(name=name, streaming=False, kind="write") for name in _WRITING},
    # Speech to text runs a model, and answers in JSON.
    "input.transcribe": Operation(name="input.transcribe", streaming=False, kind="answer"),
}
