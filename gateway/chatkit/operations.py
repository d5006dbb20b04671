"""The ChatKit operations, and which of them stream. A table; nothing else.

Source: the request types of the ChatKit server library, held to it by a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A ChatKit request type. A streaming one is answered with an event stream."""

    name: str
    streaming: bool


_STREAMING = (
    "threads.create",
    "threads.add_user_message",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.retry_after_item",
    "threads.custom_action",
)
_JSON = (
    "threads.get_by_id",
    "threads.list",
    "threads.update",
    "threads.delete",
    "threads.sync_custom_action",
    "items.list",
    "items.feedback",
    "attachments.create",
    "attachments.delete",
    "input.transcribe",
)

OPERATIONS: Final[Mapping[str, Operation]] = {
    **{name: Operation(name=name, streaming=True) for name in _STREAMING},
    **{name: Operation(name=name, streaming=False) for name in _JSON},
}
