"""From an action of the client's to what it changed: judged, done, and kept.

Rules: judged before an answer begins. Two clicks at once, in two tabs or two processes, are one after the other: the
widget that comes of a click replaces exactly the widget that was looked at, and where another click was faster it is
done again on what that one left. So doing it must be repeatable, as `actions` asks. Knows nothing of streams or agents.
"""

from datetime import UTC, datetime

from chatkit.actions import Action
from chatkit.types import (
    ChatKitReq,
    HiddenContextItem,
    ThreadItem,
    ThreadMetadata,
    ThreadsCustomActionReq,
    ThreadsSyncCustomActionReq,
    WidgetItem,
)

from agent_backend.actions import ActionTable, Outcome
from agent_backend.context import RequestContext
from agent_backend.problems import Conflict
from agent_backend.store import SqlStore
from agent_backend.store.swaps import SqlSwaps

# Attempts of one click. Each loses only to another click on the same widget; people have two hands.
MAX_ATTEMPTS = 10


class Clicks:
    """What the client's actions do in one store."""

    def __init__(self, *, store: SqlStore, actions: ActionTable) -> None:
        self._store = store
        self._swaps = SqlSwaps(engine=store.engine)
        self._actions = actions

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise a `Problem` for an action that cannot be done. Other requests are not looked at."""
        if not isinstance(request, ThreadsCustomActionReq | ThreadsSyncCustomActionReq):
            return
        params = request.params
        widget = await self._widget(params.thread_id, params.item_id, context)
        is_stream = isinstance(request, ThreadsCustomActionReq)
        self._actions.check(params.action.type, params.action.payload, widget, is_stream=is_stream)

    async def perform(
        self, thread: ThreadMetadata, action: Action[str, object], sender: WidgetItem | None, context: RequestContext
    ) -> Outcome:
        """Do it; a changed widget is kept. Raises `ActionInvalid` when it cannot be done any more."""
        widget = sender
        for _ in range(MAX_ATTEMPTS):
            outcome = await self._actions.perform(action.type, action.payload, widget, thread=thread, context=context)
            if outcome.widget is None or widget is None:
                return outcome
            if await self._swaps.replace_item(old=widget, new=outcome.widget, context=context):
                self._store.note_saved(outcome.widget, context)
                return outcome
            widget = await self._widget(thread.id, widget.id, context)
        raise Conflict(f"{widget.id if widget else None} was changed by others {MAX_ATTEMPTS} times")

    def note(self, text: str, thread: ThreadMetadata, context: RequestContext) -> ThreadItem:
        """What the model should know, as an item that the client is never sent."""
        return HiddenContextItem(
            id=self._store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(UTC),
            content=text,
        )

    async def _widget(self, thread_id: str, item_id: str | None, context: RequestContext) -> WidgetItem | None:
        item = await self._store.load_item(thread_id, item_id, context) if item_id else None
        return item if isinstance(item, WidgetItem) else None
