"""An example of a widget that does something: a checklist.

Three ways of a click are in it, to be copied:

    checklist.check     server, one answer     an entry is ticked or not; the widget comes back changed
    checklist.finish    server, a stream       the assistant is told, and says something
    checklist.copy      client                 the page does it (`widgets.onAction`); the server never hears of it

Rules: the widget is its own state: there is no second place that could disagree with it, and who owns the thread owns
the list. A payload says what shall be ("entry 2 is done"), never "flip it": a click that arrives twice changes nothing.
"""

from typing import Any

from chatkit.actions import ActionConfig
from chatkit.types import WidgetItem
from chatkit.widgets import DynamicWidgetRoot
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from agent_backend.actions import ActionCall, ActionInvalid, ActionRule, ActionTable, Outcome

# Entries, and characters of one: a list people can take in at a glance.
MAX_ENTRIES = 20
MAX_LABEL = 120

KEY = "checklist"


class Entry(BaseModel):
    label: str
    done: bool = False


class Checklist(BaseModel):
    title: str
    entries: list[Entry] = Field(min_length=1, max_length=MAX_ENTRIES)

    @property
    def text(self) -> str:
        """As plain text: for the clipboard, and for the model."""
        return "\n".join([self.title, *(f"[{'x' if entry.done else ' '}] {entry.label}" for entry in self.entries)])

    def with_entry(self, number: int, *, done: bool) -> "Checklist":
        entries = [e.model_copy(update={"done": done}) if n == number else e for n, e in enumerate(self.entries)]
        return self.model_copy(update={"entries": entries})


class CheckPayload(BaseModel):
    entry: int = Field(ge=0)
    done: bool


class FinishPayload(BaseModel):
    """Nothing: which list it is, the widget says."""


def build_checklist(title: str, labels: list[str]) -> Checklist | None:
    """A list from somebody's words: cut to what fits, empty lines left out. None when nothing is left."""
    lines = [" ".join(label.split())[:MAX_LABEL] for label in labels]
    entries = [Entry(label=line) for line in lines if line][:MAX_ENTRIES]
    if not entries:
        return None
    return Checklist(title=" ".join(title.split())[:MAX_LABEL] or "Checklist", entries=entries)


def draw_checklist(checklist: Checklist) -> DynamicWidgetRoot:
    """As a card: a button for each entry, and below them what can be done with the list as a whole."""
    return DynamicWidgetRoot.model_validate(
        {
            "type": "Card",
            "key": KEY,
            "size": "sm",
            "children": [
                {"type": "Title", "value": checklist.title, "size": "sm"},
                *(draw_entry(number, entry) for number, entry in enumerate(checklist.entries)),
                {
                    "type": "Row",
                    "children": [
                        button("Done", action("checklist.finish", {}), style="primary"),
                        button("Copy", action("checklist.copy", {"text": checklist.text}, handler="client")),
                    ],
                },
            ],
        }
    )


def draw_entry(number: int, entry: Entry) -> dict[str, Any]:
    # Not streamed: the answer is one changed widget, and nobody waits for words.
    check = action("checklist.check", {"entry": number, "done": not entry.done}, streaming=False)
    icon = "check-circle-filled" if entry.done else "empty-circle"
    return button(entry.label, check, key=f"entry-{number}", iconStart=icon, variant="ghost", block=True)


def button(label: str, on_click: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"type": "Button", "label": label, "onClickAction": on_click, **options}


def action(kind: str, payload: dict[str, Any], **options: Any) -> dict[str, Any]:
    return ActionConfig(type=kind, payload=payload, **options).model_dump()


def read_checklist(widget: WidgetItem | None) -> Checklist:
    """The list a widget shows. Raises `ActionInvalid` for any other widget, and for none."""
    drawn = widget.widget.model_dump() if widget else {}
    if drawn.get("key") != KEY:
        raise ActionInvalid("the action did not come from a checklist")
    entries = [child for child in drawn["children"] if str(child.get("key")).startswith("entry-")]
    try:
        return TypeAdapter(Checklist).validate_python(
            {
                "title": drawn["children"][0]["value"],
                "entries": [
                    {"label": entry["label"], "done": not entry["onClickAction"]["payload"]["done"]}
                    for entry in entries
                ],
            }
        )
    except (KeyError, TypeError, ValidationError) as exc:
        raise ActionInvalid("the checklist was made by another version") from exc


def check_entry(payload: CheckPayload, widget: WidgetItem | None) -> None:
    count = len(read_checklist(widget).entries)
    if payload.entry >= count:
        raise ActionInvalid(f"entry {payload.entry} of {count}, counted from 0")


def check_is_checklist(payload: FinishPayload, widget: WidgetItem | None) -> None:
    read_checklist(widget)


async def tick(call: ActionCall[CheckPayload]) -> Outcome:
    """`checklist.check`: the same list with this entry as the payload says."""
    changed = read_checklist(call.widget).with_entry(call.payload.entry, done=call.payload.done)
    return Outcome(widget=redrawn(call.widget, changed))


async def finish(call: ActionCall[FinishPayload]) -> Outcome:
    """`checklist.finish`: the model is told, and answers."""
    checklist = read_checklist(call.widget)
    done = sum(entry.done for entry in checklist.entries)
    return Outcome(
        note=f"The user pressed “Done” on this checklist, {done} of {len(checklist.entries)} done:\n{checklist.text}",
        answers=True,
    )


def redrawn(widget: WidgetItem | None, checklist: Checklist) -> WidgetItem | None:
    changes = {"widget": draw_checklist(checklist), "copy_text": checklist.text}
    return widget.model_copy(update=changes) if widget else None


CHECKLIST_ACTIONS = ActionTable(
    {
        "checklist.check": ActionRule(payload=CheckPayload, perform=tick, check=check_entry),
        "checklist.finish": ActionRule(
            payload=FinishPayload, perform=finish, check=check_is_checklist, needs_stream=True
        ),
    }
)
