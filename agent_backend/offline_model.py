"""A model that needs no network: it answers from what it was given, and says what that was.

Rules: deterministic; word by word, like the real ones; it reads the instructions and the input it is handed and nothing
else, so what a person sees in its answer is proof of what reached the model. It says that it is offline.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from agents import Model, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from agent_backend.offline_answer import compose_answer

NAME = "offline"
# Seconds between two words: readable as it appears, and a demo's answer is done in two seconds.
WORD_DELAY = 0.02


class OfflineModel(Model):
    """Answers without a language model. ``word_delay`` in seconds."""

    def __init__(self, *, word_delay: float = WORD_DELAY) -> None:
        self._word_delay = word_delay

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  the SDK's name
        *rest: Any,
        **options: Any,
    ) -> ModelResponse:
        message = message_of(compose_answer(system_instructions or "", input))
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  the SDK's name
        *rest: Any,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        message = message_of(compose_answer(system_instructions or "", input))
        for event in events_of(message):
            if isinstance(event, ResponseTextDeltaEvent):
                await asyncio.sleep(self._word_delay)
            yield event


def message_of(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])
    return ResponseOutputMessage(
        id=f"msg_{uuid.uuid4().hex}", type="message", role="assistant", status="completed", content=[content]
    )


def events_of(message: ResponseOutputMessage) -> Iterator[TResponseStreamEvent]:
    """The message as the Responses API would stream it."""
    numbers = iter(range(1_000_000))
    part = message.content[0]
    if not isinstance(part, ResponseOutputText):
        raise TypeError("the offline model makes texts only")
    empty = part.model_copy(update={"text": ""})
    place: dict[str, Any] = {"item_id": message.id, "output_index": 0, "content_index": 0}
    yield ResponseCreatedEvent(
        type="response.created", response=response_of(message, done=False), sequence_number=next(numbers)
    )
    yield ResponseOutputItemAddedEvent(
        type="response.output_item.added",
        item=message.model_copy(update={"content": [], "status": "in_progress"}),
        output_index=0,
        sequence_number=next(numbers),
    )
    yield ResponseContentPartAddedEvent(
        type="response.content_part.added", part=empty, sequence_number=next(numbers), **place
    )
    for word in re.findall(r"\S+\s*", part.text):
        yield ResponseTextDeltaEvent(
            type="response.output_text.delta", delta=word, logprobs=[], sequence_number=next(numbers), **place
        )
    yield ResponseTextDoneEvent(
        type="response.output_text.done", text=part.text, logprobs=[], sequence_number=next(numbers), **place
    )
    yield ResponseContentPartDoneEvent(
        type="response.content_part.done", part=part, sequence_number=next(numbers), **place
    )
    yield ResponseOutputItemDoneEvent(
        type="response.output_item.done", item=message, output_index=0, sequence_number=next(numbers)
    )
    yield ResponseCompletedEvent(
        type="response.completed", response=response_of(message, done=True), sequence_number=next(numbers)
    )


def response_of(message: ResponseOutputMessage, *, done: bool) -> Response:
    return Response(
        id=f"resp_{message.id}",
        created_at=0,
        model=NAME,
        object="response",
        output=[message] if done else [],
        status="completed" if done else "in_progress",
        parallel_tool_calls=False,
        tool_choice="none",
        tools=[],
    )
