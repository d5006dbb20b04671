"""A model for tests behind OpenAI's two protocols: it streams the words it was given, and counts what it sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.servers import serve


@dataclass(slots=True, kw_only=True)
class ModelServer:
    """``words`` are streamed one by one, ``delay`` seconds apart; ``status`` other than 200 refuses at once."""

    words: list[str] = field(default_factory=lambda: ["Hello ", "from ", "the ", "socket."])
    delay: float = 0.0
    status: int = 200
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    sent: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/responses", self._responses, methods=["POST"]),
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
            ]
        )

    async def _responses(self, request: Request) -> Response:
        return await self._answer(request, self._response_events())

    async def _chat_completions(self, request: Request) -> Response:
        return await self._answer(request, self._chat_chunks())

    async def _answer(self, request: Request, events: AsyncIterator[str]) -> Response:
        self.requests.append(await request.json())
        self.authorizations.append(request.headers.get("authorization", ""))
        if self.status != 200:
            return JSONResponse({"error": {"message": "no", "type": "test"}}, self.status)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _spoken(self) -> AsyncIterator[str]:
        for word in self.words:
            await asyncio.sleep(self.delay)
            self.sent += 1
            yield word

    async def _response_events(self) -> AsyncIterator[str]:
        """The events of the Responses API, in its order."""
        text = "".join(self.words)
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        message = {"id": "msg_model", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        place = {"item_id": "msg_model", "output_index": 0, "content_index": 0}
        empty = {**part, "text": ""}
        begun = {**message, "content": [], "status": "in_progress"}
        yield event("response.created", response=response([], "in_progress"))
        yield event("response.output_item.added", output_index=0, item=begun)
        yield event("response.content_part.added", **place, part=empty)
        async for word in self._spoken():
            yield event("response.output_text.delta", **place, delta=word, logprobs=[])
        yield event("response.output_text.done", **place, text=text, logprobs=[])
        yield event("response.content_part.done", **place, part=part)
        yield event("response.output_item.done", output_index=0, item=message)
        yield event("response.completed", response=response([message], "completed"))

    async def _chat_chunks(self) -> AsyncIterator[str]:
        """The chunks of the Chat Completions API."""
        async for word in self._spoken():
            yield chunk({"role": "assistant", "content": word}, None)
        yield chunk({}, "stop")
        yield "data: [DONE]\n\n"


def event(kind: str, **members: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **members})}\n\n"


def response(output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    fixed = {"id": "resp_1", "object": "response", "created_at": 0, "model": "test", "parallel_tool_calls": False}
    return {**fixed, "tool_choice": "auto", "tools": [], "output": output, "status": status}


def chunk(delta: dict[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    fixed = {"id": "chat_1", "object": "chat.completion.chunk", "created": 0, "model": "test"}
    return f"data: {json.dumps({**fixed, 'choices': [choice]})}\n\n"


@contextmanager
def model_server(**options: Any) -> Iterator[ModelServer]:
    """A running one; ``url`` is its base URL, as a client wants it."""
    server = ModelServer(**options)
    with serve(server.app()) as url:
        server.url = f"{url}/v1"
        yield server
