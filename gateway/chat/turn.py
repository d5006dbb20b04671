"""How one answer is going, by its events: which thread, complete or not, what it waits for. Pure.

A stream has no last event that says "complete": it is when the connection ended in order, no `error` came, something
was answered, and every message that was begun is done.
"""

from dataclasses import dataclass, field

from gateway.chat.events import Event


@dataclass(slots=True)
class Turn:
    """One answer; ``take`` every event of it.

    Attributes:
        thread_id: The thread; a new one's is known with its first event.
        question_id: The user's message that is being answered, for a retry.
        tool_call: The client tool that the answer waits for, as an item.
        form: Questions that the answer waits for, as an item.
        error: The `error` event, if one came.
        answered: Something of the assistant's is done.
        unfinished: Messages begun and not done.
    """

    thread_id: str = ""
    question_id: str = ""
    tool_call: Event | None = None
    form: Event | None = None
    error: Event | None = None
    answered: bool = False
    unfinished: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        match event:
            case {"type": "thread.created", "thread": {"id": str(thread_id)}}:
                self.thread_id = thread_id
            case {"type": "thread.item.added", "item": {"type": "assistant_message", "id": str(item_id)}}:
                self.unfinished.add(item_id)
            case {"type": "thread.item.removed", "item_id": str(item_id)}:
                self.unfinished.discard(item_id)
            case {"type": "thread.item.done" | "thread.item.replaced", "item": {"id": str(item_id)} as item}:
                self.unfinished.discard(item_id)
                self._take_item(item)
            case {"type": "error"}:
                self.error = event

    def problem(self) -> str | None:
        """Now that the stream has ended: why this is no complete answer; None if it is one."""
        if self.error is not None:
            return str(
                self.error.get("message") or f"the assistant failed ({self.error.get('code') or 'no reason given'})"
            )
        if self.unfinished:
            return "the answer stopped before its end"
        return None if self.answered else "no answer came"

    @property
    def may_retry(self) -> bool:
        return self.error is not None and self.error.get("allow_retry") is True

    def _take_item(self, item: Event) -> None:
        match item:
            case {"type": "user_message"}:
                self.question_id = item["id"]
                return
            case {"type": "client_tool_call", "status": "pending"}:
                self.tool_call = item
            case {"type": "structured_input", "status": "pending", "inputs": [*_]}:
                self.form = item
        self.answered = True
