"""What a click in a widget, or an action that the page sends by itself, makes happen on the server.

Rules: an action is a row in a table: its type, the model its payload must fit, what it does. Type, payload and widget
come from the client: they are judged before an answer begins, and an action of no known type is refused. The thread and
the widget it is about were loaded as the user's own before anything here is called. What an action does is a value,
`Outcome`, so that the same action serves a stream (`threads.custom_action`) and a single answer
(`threads.sync_custom_action`). Knows nothing of HTTP, stores or agents.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chatkit.types import ThreadMetadata, WidgetItem
from pydantic import BaseModel, ValidationError

from agent_backend.context import RequestContext
from agent_backend.problems import Problem

Payload = TypeVar("Payload", bound=BaseModel)


class ActionUnknown(Problem):
    status = 400
    code = "action_unknown"
    message = "This assistant does not know what to do with that."


class ActionInvalid(Problem):
    """Known, but its payload or the widget it came from is not what it needs."""

    status = 400
    code = "action_invalid"
    message = "That cannot be done here, or no longer. Please reload the conversation."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an action did.

    Attributes:
        widget: The widget it came from, as it looks now: saved, and shown in place of the old one.
        note: What the model should know of it, in its place in the thread; the user does not see it.
        answers: The assistant goes on: it answers as if it had been spoken to. Needs a stream.
    """

    widget: WidgetItem | None = None
    note: str | None = None
    answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCall(Generic[Payload]):
    """One action, judged: in the user's own thread, from the user's own widget or from none."""

    payload: Payload
    widget: WidgetItem | None
    thread: ThreadMetadata
    context: RequestContext


Perform = Callable[[ActionCall[Payload]], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRule(Generic[Payload]):
    """What an action needs, and what it does. ``check`` raises `ActionInvalid`; it is asked before a stream begins.

    ``needs_stream`` where its outcome may have an answer: a single answer has no room for one.
    """

    payload: type[Payload]
    perform: Perform[Payload]
    check: Callable[[Payload, WidgetItem | None], None] = lambda payload, widget: None
    needs_stream: bool = False


class ActionTable:
    """Every action there is, by type."""

    def __init__(self, rules: Mapping[str, ActionRule[Any]] | None = None) -> None:
        self._rules = dict(rules or {})

    def __repr__(self) -> str:
        return f"<ActionTable {', '.join(sorted(self._rules)) or 'empty'}>"

    def check(self, kind: str, payload: object, widget: WidgetItem | None, *, is_stream: bool) -> None:
        """Raise `ActionUnknown` or `ActionInvalid` for what cannot be begun."""
        rule = self._rule(kind)
        if rule.needs_stream and not is_stream:
            raise ActionInvalid(f"{kind} answers, and needs threads.custom_action")
        rule.check(self._read(kind, payload), widget)

    async def perform(
        self, kind: str, payload: object, widget: WidgetItem | None, *, thread: ThreadMetadata, context: RequestContext
    ) -> Outcome:
        rule = self._rule(kind)
        read = self._read(kind, payload)
        # Again, and on the widget as it is now: another click may have changed it since the first look.
        rule.check(read, widget)
        return await rule.perform(ActionCall(payload=read, widget=widget, thread=thread, context=context))

    def _rule(self, kind: str) -> ActionRule[Any]:
        rule = self._rules.get(kind)
        if rule is None:
            raise ActionUnknown(f"action {kind[:64]!r}, known: {', '.join(sorted(self._rules)) or 'none'}")
        return rule

    def _read(self, kind: str, payload: object) -> Any:
        try:
            # Strict would refuse a form's "3" where a number is meant; unknown members are the widget's own business.
            return self._rule(kind).payload.model_validate({} if payload is None else payload)
        except ValidationError as exc:
            # Only where and what kind: the values are the user's.
            places = [f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in exc.errors()[:5]]
            raise ActionInvalid(f"payload of {kind}: {'; '.join(places)}") from exc
