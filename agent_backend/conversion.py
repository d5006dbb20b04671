"""One thread item in, what the model reads of it out.

Rules: every kind of item converts, or is named in a line of text, so that no item can make a thread unanswerable and
none is forgotten; only the end of a turn, which is a mark for the screen, and an empty answer are nothing. What was
quoted, mentioned or attached goes with its message on every turn and not only on the last. What is not the
user's or the assistant's own words is cut to a limit. Knows nothing of stores, models or agents.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agents import TResponseInputItem
from chatkit.agents import ThreadItemConverter
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    CustomTask,
    FileTask,
    GeneratedImageItem,
    HiddenContextItem,
    ImageTask,
    SearchTask,
    StructuredInputItem,
    Task,
    TaskItem,
    ThoughtTask,
    ThreadItem,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    WorkflowItem,
)
from openai.types.responses import EasyInputMessageParam, ResponseInputContentParam, ResponseInputTextParam
from openai.types.responses.response_input_item_param import Message

from agent_backend.context import RequestContext
from agent_backend.tokens import cut_middle

# Characters of a mention's data: it is the client's, and may be a whole record.
MAX_TAG = 2000
# Mentions in one message whose data is shown: nobody types more.
MAX_TAGS = 20
# Characters of anything else that neither the user nor the assistant wrote: a widget, a tool's output, hidden context.
MAX_SHOWN = 8000

ReadAttachment = Callable[[Attachment], Awaitable[Sequence[ResponseInputContentParam]]]
# Looks at everything the model is about to be given, once, and chooses what of its attachments fits.
PrepareAttachments = Callable[[Sequence[ThreadItem], RequestContext], Awaitable[ReadAttachment]]

logger = logging.getLogger(__name__)


def text_part(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)


def user_message(*texts: str) -> TResponseInputItem:
    return Message(type="message", role="user", content=[text_part(text) for text in texts])


def describe_attachment(attachment: Attachment) -> str:
    return f"(Attached, contents not available: {attachment.name}, {attachment.mime_type})"


async def name_attachment(attachment: Attachment) -> Sequence[ResponseInputContentParam]:
    """An attachment as a line of text. Whoever has its bytes gives the model the contents instead."""
    return [text_part(describe_attachment(attachment))]


async def name_all(items: Sequence[ThreadItem], context: RequestContext) -> ReadAttachment:
    """Without a place for bytes every attachment is a line of text."""
    return name_attachment


class HistoryConverter(ThreadItemConverter):
    """ChatKit's converter, with what it leaves open filled in, and bounds."""

    def __init__(self, *, read_attachment: ReadAttachment = name_attachment) -> None:
        self._read_attachment = read_attachment

    async def convert(self, item: ThreadItem) -> list[TResponseInputItem]:
        """One item. What cannot be converted is named: one odd item must not silence its thread for good."""
        try:
            return await self.to_agent_input(item)
        except Exception as exc:
            logger.warning("item not shown to the model", extra={"item": item.id, "error": type(exc).__name__})
            return [user_message(f"(Something of the kind {item.type} was here; it cannot be shown to you.)")]

    async def user_message_to_input(
        self, item: UserMessageItem, is_last_message: bool = True
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        tags = {part.id: part for part in item.content if isinstance(part, UserMessageTagContent)}
        said = "".join(
            part.text if isinstance(part, UserMessageTextContent) else f"@{part.text}" for part in item.content
        )
        return Message(
            type="message",
            role="user",
            content=[
                text_part(said),
                *(
                    [text_part(f"I am referring to this in particular:\n{item.quoted_text}")]
                    if item.quoted_text
                    else []
                ),
                *(text_part(describe_tag(tag)) for tag in list(tags.values())[:MAX_TAGS]),
                *[part for attachment in item.attachments for part in await self._read(attachment)],
            ],
        )

    async def _read(self, attachment: Attachment) -> Sequence[ResponseInputContentParam]:
        try:
            return await self._read_attachment(attachment)
        except Exception as exc:
            logger.warning("attachment not read", extra={"attachment": attachment.id, "error": type(exc).__name__})
            return await name_attachment(attachment)

    async def assistant_message_to_input(
        self, item: AssistantMessageItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        # As one text: ChatKit's list of `output_text` parts is refused by every chat-completions model.
        text = "\n".join(part.text for part in item.content)
        return EasyInputMessageParam(type="message", role="assistant", content=text) if text.strip() else None

    async def client_tool_call_to_input(
        self, item: ClientToolCallItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        if item.status == "pending":
            return user_message(f"(My browser was asked to run {item.name}, and has not answered.)")
        converted = await super().client_tool_call_to_input(item)
        call, output = converted if isinstance(converted, list) else (None, None)
        if call is None or output is None:
            raise ValueError("a completed call is a call and its output")
        return [call, cut(output, "output")]

    async def widget_to_input(self, item: WidgetItem) -> TResponseInputItem | list[TResponseInputItem] | None:
        # The text its author wrote for it says what it shows; else its JSON does.
        shown = item.copy_text or item.widget.model_dump_json(exclude_unset=True, exclude_none=True)
        return user_message(f"A widget was shown to me here:\n<Widget>\n{bounded(shown)}\n</Widget>")

    async def generated_image_to_input(
        self, item: GeneratedImageItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        # Not the picture itself: its URL may be a whole file in base64, and no other machine can fetch it.
        return user_message("(An image was generated and shown here.)" if item.image else "(No image came of this.)")

    async def structured_input_to_input(
        self, item: StructuredInputItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        converted: TResponseInputItem = cut(await super().structured_input_to_input(item), "content")
        return converted

    async def workflow_to_input(self, item: WorkflowItem) -> TResponseInputItem | list[TResponseInputItem] | None:
        return describe_steps(item.workflow.tasks)

    async def task_to_input(self, item: TaskItem) -> TResponseInputItem | list[TResponseInputItem] | None:
        return describe_steps([item.task])

    async def hidden_context_to_input(
        self, item: HiddenContextItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        text = item.content if isinstance(item.content, str) else as_json(item.content)
        return await super().hidden_context_to_input(item.model_copy(update={"content": bounded(text)}))


def describe_tag(tag: UserMessageTagContent) -> str:
    """What a mention stands for, as the client tells it: a claim about which thing is meant, and no proof of a right
    to it. A tool that acts on it looks the id up with the user's own rights.
    """
    known: dict[str, Any] = {"id": tag.id, "text": tag.text, "group": tag.group, "data": tag.data}
    return f"@{tag.text} stands for: {as_json(known)[:MAX_TAG]}"


def describe_steps(tasks: Sequence[Task]) -> TResponseInputItem:
    """Work that was shown while it was done, one line for each step."""
    lines = "\n".join(f"- {describe_task(task)}" for task in tasks)
    return user_message(f"These steps were shown to me while you worked:\n<Steps>\n{bounded(lines)}\n</Steps>")


def describe_task(task: Task) -> str:
    match task:
        case CustomTask():
            texts: list[str | None] = [task.title, task.content]
        case SearchTask():
            texts = [
                task.title or "Searched the web",
                ", ".join(task.queries) or task.title_query,
                ", ".join(source.url for source in task.sources),
            ]
        case ThoughtTask():
            texts = ["Thought", task.title, task.content]
        case FileTask():
            texts = [task.title or "Read files", ", ".join(source.filename for source in task.sources)]
        case ImageTask():
            texts = ["Made an image", task.title]
    return ": ".join(text for text in texts if text) or task.type


def cut(item: Any, name: str) -> Any:
    """The item with the texts under ``name`` bounded."""
    value = item[name]
    if isinstance(value, str):
        return {**item, name: bounded(value)}
    return {**item, name: [{**part, "text": bounded(part["text"])} for part in value]}


def bounded(text: str) -> str:
    return cut_middle(text, MAX_SHOWN)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
