"""A model that needs no network: it answers from what it was given, and says what that was.

Rules: deterministic; word by word, like the real ones; it reads the instructions and the input it is handed and nothing
else, so what a person sees in its answer is proof of what reached the model. It says that it is offline. It calls tools
as a real model does, through the SDK: `offline_plan` says when.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from agents import Model, ModelResponse, ModelSettings, Tool, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from agent_backend.offline_answer import compose_answer, said_last
from agent_backend.offline_plan import HELP, Call, describe_abilities, plan_call

NAME = "offline"
# Seconds between two words: readable as it appears, and a demo's answer is done in two seconds.
WORD_DELAY = 0.02

Output = ResponseOutputMessage | ResponseFunctionToolCall


class OfflineModel(Model):
    """Answers without a language model. ``word_delay`` in seconds; ``name`` where there are several to choose from."""

    def __init__(self, *, word_delay: float = WORD_DELAY, name: str = NAME) -> None:
        self._word_delay = word_delay
        self._name = name

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **options: Any,
    ) -> ModelResponse:
        output = self._decide(system_instructions or "", input, model_settings, tools)
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        output = self._decide(system_instructions or "", input, model_settings, tools)
        for event in events_of(output):
            if isinstance(event, ResponseTextDeltaEvent):
                await asyncio.sleep(self._word_delay)
            yield event

    def _decide(
        self,
        instructions: str,
        items: str | list[TResponseInputItem],
        settings: ModelSettings,
        tools: Sequence[Tool],
    ) -> Output:
        """Call a tool, list the abilities, or tell back what was given."""
        choice = settings.tool_choice if isinstance(settings.tool_choice, str) else None
        call = plan_call(items, tools, choice)
        if call is not None:
            return call_of(call)
        asked = said_last(items)
        if asked is not None and HELP.search(asked):
            return message_of(describe_abilities({tool.name for tool in tools}))
        chosen = "" if self._name == NAME else f"[{self._name}] "
        return message_of(chosen + compose_answer(instructions, items))


def call_of(call: Call) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        id=f"fc_{uuid.uuid4().hex}",
        type="function_call",
        call_id=f"call_{uuid.uuid4().hex}",
        name=call.name,
        arguments=json.dumps(call.arguments, ensure_ascii=False),
        status="completed",
    )


def message_of(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])
    return ResponseOutputMessage(
        id=f"msg_{uuid.uuid4().hex}", type="message", role="assistant", status="completed", content=[content]
    )


def events_of(output: Output) -> Iterator[TResponseStreamEvent]:
    """What was decided, as the Responses API would stream it."""
    numbers = iter(range(1_000_000))
    empty: dict[str, Any] = {"content": []} if isinstance(output, ResponseOutputMessage) else {"arguments": ""}
    yield ResponseCreatedEvent(
        type="response.created", response=response_of(output, done=False), sequence_number=next(numbers)
    )
    yield ResponseOutputItemAddedEvent(
        type="response.output_item.added",
        item=output.model_copy(update={"status": "in_progress", **empty}),
        output_index=0,
        sequence_number=next(numbers),
    )
    yield from text_events(output, numbers) if isinstance(output, ResponseOutputMessage) else ()
    yield ResponseOutputItemDoneEvent(
        type="response.output_item.done", item=output, output_index=0, sequence_number=next(numbers)
    )
    yield ResponseCompletedEvent(
        type="response.completed", response=response_of(output, done=True), sequence_number=next(numbers)
    )


def text_events(message: ResponseOutputMessage, numbers: Iterator[int]) -> Iterator[TResponseStreamEvent]:
    """The words of a message, one by one."""
    part = message.content[0]
    if not isinstance(part, ResponseOutputText):
        raise TypeError("the offline model makes texts only")
    empty = part.model_copy(update={"text": ""})
    place: dict[str, Any] = {"item_id": message.id, "output_index": 0, "content_index": 0}
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


def response_of(output: Output, *, done: bool) -> Response:
    return Response(
        id=f"resp_{output.id}",
        created_at=0,
        model=NAME,
        object="response",
        output=[output] if done else [],
        status="completed" if done else "in_progress",
        parallel_tool_calls=False,
        tool_choice="none",
        tools=[],
    )
