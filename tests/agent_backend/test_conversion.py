"""One thread item in, what the model reads of it out: as tables, over every kind there is."""

from collections.abc import Sequence
from typing import Any, get_args

import pytest
from chatkit.types import (
    Attachment,
    ClientToolCallItem,
    CustomTask,
    EndOfTurnItem,
    FileAttachment,
    FileSource,
    FileTask,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    ImageTask,
    SDKHiddenContextItem,
    SearchTask,
    StructuredInputAnswer,
    StructuredInputFreeform,
    StructuredInputItem,
    Task,
    TaskItem,
    ThoughtTask,
    ThreadItem,
    URLSource,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import DynamicWidgetRoot
from openai.types.responses import ResponseInputContentParam

from agent_backend.conversion import MAX_SHOWN, MAX_TAGS, HistoryConverter, describe_task
from tests.agent_backend.thread_items import COMMON, answered, called, line_of, said

TAG = UserMessageTagContent(id="t1", text="Ann", data={"age": 7}, group="people")
FILE = FileAttachment(id="atc_1", name="a.pdf", mime_type="application/pdf")
WIDGET = DynamicWidgetRoot.model_validate({"type": "Card", "children": [{"type": "Text", "value": "Hi"}]})


def hidden(text: str) -> str:
    return f"user: Hidden context for the agent (not shown to the user):\n<HiddenContext>\n{text}\n</HiddenContext>"


def asked(status: Any, answer: StructuredInputAnswer | None) -> StructuredInputItem:
    question = StructuredInputFreeform(id="q", question="Why?", answer=answer)
    return StructuredInputItem(id="si_1", status=status, inputs=[question], **COMMON)


def form(status: str, answer: str) -> str:
    return (
        f"user: A structured input request was displayed to the user with the following status: {status}\n"
        f"<StructuredInput>\n- Why?: {answer}\n</StructuredInput>"
    )


def steps(*lines: str) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"user: These steps were shown to me while you worked:\n<Steps>\n{listed}\n</Steps>"


def image(url: str | None) -> GeneratedImageItem:
    return GeneratedImageItem(id="msg_i", image=GeneratedImage(id="i", url=url) if url else None, **COMMON)


CASES: dict[str, tuple[ThreadItem, list[str]]] = {
    "message": (said("Hi"), ["user: Hi"]),
    "empty message": (said("", content=[]), ["user: "]),
    "quoted text": (said("Hi", quoted_text="Q"), ["user: Hi|I am referring to this in particular:\nQ"]),
    "tag": (
        said("", content=[UserMessageTextContent(text="Ask "), TAG, TAG]),
        ['user: Ask @Ann@Ann|@Ann stands for: {"id": "t1", "text": "Ann", "group": "people", "data": {"age": 7}}'],
    ),
    "attachment": (
        said("See", attachments=[FILE]),
        ["user: See|(Attached, contents not available: a.pdf, application/pdf)"],
    ),
    "answer": (answered("Yes"), ["assistant: Yes"]),
    "empty answer": (answered(" "), []),
    "finished tool call": (called("completed"), ["function_call", "function_call_output"]),
    "pending tool call": (called("pending"), ["user: (My browser was asked to run t, and has not answered.)"]),
    # A mark for the screen: it says nothing.
    "end of turn": (EndOfTurnItem(id="msg_e", **COMMON), []),
    "image": (image("data:image/png;base64,AAAA"), ["user: (An image was generated and shown here.)"]),
    "no image": (image(None), ["user: (No image came of this.)"]),
    "hidden text": (HiddenContextItem(id="msg_h", content="psst", **COMMON), [hidden("psst")]),
    "hidden object": (HiddenContextItem(id="msg_h", content={"a": "ü"}, **COMMON), [hidden('{"a": "ü"}')]),
    "cancelled": (SDKHiddenContextItem(id="shcx_1", content="stop", **COMMON), [hidden("stop")]),
    "pending form": (asked("pending", None), [form("pending", "unanswered")]),
    "answered form": (asked("answered", StructuredInputAnswer(values=["a", "b"])), [form("answered", "a, b")]),
    "skipped form": (asked("skipped", StructuredInputAnswer(skipped=True)), [form("skipped", "skipped")]),
    "widget": (
        WidgetItem(id="msg_w", widget=WIDGET, **COMMON),
        [
            "user: A widget was shown to me here:\n<Widget>\n"
            '{"type":"Card","children":[{"type":"Text","value":"Hi"}]}\n</Widget>'
        ],
    ),
    "widget with a text": (
        WidgetItem(id="msg_w", widget=WIDGET, copy_text="Hello", **COMMON),
        ["user: A widget was shown to me here:\n<Widget>\nHello\n</Widget>"],
    ),
    "task": (TaskItem(id="tsk_1", task=CustomTask(title="Look", content="there"), **COMMON), [steps("Look: there")]),
    "workflow": (
        WorkflowItem(
            id="wf_1",
            workflow=Workflow(type="custom", tasks=[CustomTask(title="One"), ThoughtTask(content="hm")]),
            **COMMON,
        ),
        [steps("One", "Thought: hm")],
    ),
}
TASKS: list[tuple[Task, str]] = [
    (CustomTask(), "custom"),
    (CustomTask(title="Look"), "Look"),
    (
        SearchTask(queries=["a", "b"], sources=[URLSource(title="t", url="https://x.test")]),
        "Searched the web: a, b: https://x.test",
    ),
    (SearchTask(title="Web", title_query="q"), "Web: q"),
    (ThoughtTask(title="Plan", content="c"), "Thought: Plan: c"),
    (FileTask(sources=[FileSource(title="t", filename="a.txt")]), "Read files: a.txt"),
    (ImageTask(title="A cat"), "Made an image: A cat"),
]


async def shown(item: ThreadItem, converter: HistoryConverter | None = None) -> list[str]:
    return [line_of(part) for part in await (converter or HistoryConverter()).convert(item)]


@pytest.mark.parametrize("name", CASES)
async def test_what_the_model_sees_of_an_item(name: str) -> None:
    """Each kind of item, alone."""
    item, expected = CASES[name]

    assert await shown(item) == expected


def test_every_kind_of_item_and_task_is_in_the_tables() -> None:
    """A kind that a later ChatKit brings fails here until somebody has decided what the model sees of it."""
    items: set[type] = set(get_args(get_args(ThreadItem)[0]))
    tasks: set[type] = set(get_args(get_args(Task)[0]))

    assert {type(item) for item, _ in CASES.values()} == items
    assert {type(task) for task, _ in TASKS} == tasks


@pytest.mark.parametrize(("task", "expected"), TASKS)
def test_each_kind_of_step_is_one_line(task: Task, expected: str) -> None:
    """ChatKit shows the model custom ones only."""
    assert describe_task(task) == expected


LONG = "x" * 1_000_000
HUGE: dict[str, ThreadItem] = {
    "tool output": called("completed", LONG),
    "nested tool output": called("completed", {"rows": [LONG]}),
    "widget": WidgetItem(id="msg_w", widget=WIDGET, copy_text=LONG, **COMMON),
    "hidden": HiddenContextItem(id="msg_h", content=LONG, **COMMON),
    "form": asked("answered", StructuredInputAnswer(values=[LONG])),
    "step": TaskItem(id="tsk_1", task=CustomTask(title="t", content=LONG), **COMMON),
    "tags": said("", content=[TAG.model_copy(update={"id": f"t{n}", "data": {"a": LONG}}) for n in range(100)]),
}


@pytest.mark.parametrize("name", HUGE)
async def test_what_nobody_wrote_is_bounded(name: str) -> None:
    """A widget, an output or a record as large as a book does not push the conversation out."""
    converted = await HistoryConverter().convert(HUGE[name])

    assert len(str(converted)) < max(MAX_SHOWN, MAX_TAGS * 2000) + 2000


async def test_an_item_that_cannot_be_converted_is_named() -> None:
    """One odd item does not silence its thread for good, and the model knows that something was there."""

    class Odd(HistoryConverter):
        async def client_tool_call_to_input(self, item: ClientToolCallItem) -> Any:
            raise RuntimeError("no")

    lines = await shown(called("completed"), Odd())

    assert lines == ["user: (Something of the kind client_tool_call was here; it cannot be shown to you.)"]


async def test_contents_of_an_attachment_take_the_place_of_its_name() -> None:
    """Whoever has the bytes gives them; when that fails, the name is what is left."""

    async def read(attachment: Attachment) -> Sequence[ResponseInputContentParam]:
        if attachment.id == "atc_gone":
            raise OSError("gone")
        return [{"type": "input_text", "text": "the contents"}]

    gone = FILE.model_copy(update={"id": "atc_gone"})

    assert await shown(said("See", attachments=[FILE, gone]), HistoryConverter(read_attachment=read)) == [
        "user: See|the contents|(Attached, contents not available: a.pdf, application/pdf)"
    ]
