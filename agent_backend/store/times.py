"""One policy for time: UTC with its offset in the database, in what the store gives, and on the wire.

ChatKitServer and the Agents SDK make naive datetimes in the machine's local time. They are understood as such, and
nowhere else in this package is a naive time made or read. The one exception: a workflow comes back from the store in
naive local time, because ChatKit's `end_workflow` subtracts its start from a naive ``datetime.now()``.
"""

from datetime import UTC, datetime
from typing import Any, TypeVar

from chatkit.types import ThreadItem, WorkflowItem
from pydantic import BaseModel

AnyModel = TypeVar("AnyModel", bound=BaseModel)
# The members of ChatKit's events and pages that hold, or lead to, a `created_at`.
PATHS = ("item", "thread", "items", "data", "updated_item")


def to_utc(moment: datetime) -> datetime:
    """The same moment in UTC. A naive one is local time: `datetime.astimezone` reads it so."""
    return moment.astimezone(UTC)


def for_chatkit(item: ThreadItem) -> ThreadItem:
    """The item as ChatKit can do arithmetic with it."""
    if isinstance(item, WorkflowItem):
        return item.model_copy(update={"created_at": item.created_at.astimezone().replace(tzinfo=None)})
    return item


def in_utc(model: AnyModel) -> AnyModel:
    """A copy of an event, page, thread or item with every `created_at` in UTC; the argument is untouched."""
    changes: dict[str, Any] = {}
    for name in PATHS:
        value = getattr(model, name, None)
        if isinstance(value, BaseModel):
            changes[name] = in_utc(value)
        elif isinstance(value, list):
            changes[name] = [in_utc(entry) if isinstance(entry, BaseModel) else entry for entry in value]
    created = getattr(model, "created_at", None)
    if isinstance(created, datetime):
        changes["created_at"] = to_utc(created)
    return model.model_copy(update=changes) if changes else model
