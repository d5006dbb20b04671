"""A model for tests behind OpenAI's two protocols: it streams the words it was given, and counts what it sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.servers import serve

REFUSALS: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
    "busy": (429, {"retry-after": "0"}, {"code": "rate_limit_exceeded"}),
    "busy_for_long": (429, {"retry-after": "3600"}, {"code": "rate_limit_exceeded"}),
    "overloaded": (503, {}, {}),
    "no_money": (429, {}, {"code": "insufficient_quota"}),
    "failed": (500, {}, {}),
    "wrong_key": (401, {}, {"code": "invalid_api_key"}),
    "wrong_name": (404, {}, {"code": "model_not_found"}),
    "too_long": (400, {}, {"code": "context_length_exceeded"}),
    "too_long_in_words": (400, {}, {"message": "This model's maximum context length is 8192 tokens."}),
    "policy": (400, {}, {"code": "content_filter"}),
    "rejected": (400, {}, {}),
}
# What it says about itself: none of it is anybody's business but the operator's of the endpoint.
LEAK = "key sk-leaked for prompt PROMPT-LEAKED"


@dataclass(slots=True, kw_only=True)
class ModelServer:
    """``words`` are streamed one by one, ``delay`` seconds apart; ``status`` other than 200 refuses at once.

    Attributes:
        faults: One name for each request to come, of `REFUSALS` or of `_broken`; "" answers well, as all later ones do.
        usage: Tokens in and out, told at the end of an answer; None says nothing.
        aside: What it answers to requests that ask for no stream, such as one for a title; they are in `asides`.
        sent: Words that went out.
        open: Answers that are being sent right now.
    """

    words: list[str] = field(default_factory=lambda: ["Hello ", "from ", "the ", "socket."])
    delay: float = 0.0
    status: int = 200
    url: str = ""
    faults: list[str] = field(default_factory=list)
    usage: tuple[int, int] | None = None
    aside: str = "A title"
    aside_faults: list[str] = field(default_factory=list)
    asides: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    sent: int = 0
    open: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/responses", self._responses, methods=["POST"]),
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
            ]
        )

    async def _responses(self, request: Request) -> Response:
        text = self._text_output(self.aside)
        whole = {**response([text], "completed"), **self._response_usage()}
        return await self._answer(request, self._response_events(), whole)

    async def _chat_completions(self, request: Request) -> Response:
        message = {"role": "assistant", "content": self.aside}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "chat_1", "object": "chat.completion", "created": 0, "model": "test", "choices": [choice]}
        return await self._answer(request, self._chat_chunks(), {**whole, **self._chat_usage()})

    async def _answer(self, request: Request, events: AsyncIterator[str], whole: dict[str, Any]) -> Response:
        body = await request.json()
        is_streamed = bool(body.get("stream"))
        (self.requests if is_streamed else self.asides).append(body)
        self.authorizations += [request.headers.get("authorization", "")] if is_streamed else []
        faults = self.faults if is_streamed else self.aside_faults
        fault = faults.pop(0) if faults else ""
        if self.status != 200:
            return JSONResponse({"error": {"message": "no", "type": "test"}}, self.status)
        if fault in REFUSALS:
            status, headers, error = REFUSALS[fault]
            return JSONResponse({"error": {"message": LEAK, "type": "test", **error}}, status, headers=headers)
        if not is_streamed:
            return JSONResponse(whole)
        if fault == "page":
            return HTMLResponse("<h1>Welcome</h1>")
        return StreamingResponse(self._counted(self._broken(events, fault)), media_type="text/event-stream")

    async def _counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        self.open += 1
        try:
            async for text in events:
                yield text
        finally:
            self.open -= 1

    async def _broken(self, events: AsyncIterator[str], fault: str) -> AsyncIterator[str]:
        """The events, until the fault. What comes before a word, in either protocol, is no token."""
        if fault == "empty":
            return
        words = 0
        async for text in events:
            is_word = "delta" in text and '"delta": {}' not in text and '"content": ""' not in text
            if is_word and (fault.endswith("_before") or (fault.endswith("_after") and words == 2)):
                async for part in self._end(fault.partition("_")[0], is_chat=text.startswith("data:")):
                    yield part
                return
            words += is_word
            yield text
            while fault == "never_ends" and is_word:
                await asyncio.sleep(0.01)
                self.sent += 1
                yield text

    async def _end(self, fault: str, *, is_chat: bool) -> AsyncIterator[str]:
        if fault == "dies":
            raise ConnectionError(fault)
        if fault == "garbage":
            yield f"data: {{{LEAK}\n\n"
        if fault == "error" and is_chat:
            yield f"data: {json.dumps({'error': {'message': LEAK, 'code': None}})}\n\n"
        elif fault == "error":
            yield event("error", code=None, message=LEAK, param=None)
        if fault == "stalls":
            while True:  # stuck, behind a proxy that keeps the connection warm
                yield ": ping\n\n"
                await asyncio.sleep(0.02)

    async def _spoken(self) -> AsyncIterator[str]:
        for word in self.words:
            await asyncio.sleep(self.delay)
            self.sent += 1
            yield word

    async def _response_events(self) -> AsyncIterator[str]:
        """The events of the Responses API, in its order."""
        text = "".join(self.words)
        message = self._text_output(text)
        part = message["content"][0]
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
        yield event("response.completed", response={**response([message], "completed"), **self._response_usage()})

    def _response_usage(self) -> dict[str, Any]:
        if self.usage is None:
            return {}
        tokens_in, tokens_out = self.usage
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        counts = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        return {"usage": {**counts, **details}}

    async def _chat_chunks(self) -> AsyncIterator[str]:
        """The chunks of the Chat Completions API. Like most, it says what an answer cost only where it is asked to."""
        yield chunk({"role": "assistant", "content": ""}, None)
        async for word in self._spoken():
            yield chunk({"role": "assistant", "content": word}, None)
        yield chunk({}, "stop")
        options = self.requests[-1].get("stream_options") or {}
        if self.usage is not None and options.get("include_usage"):
            yield chunk(None, None, **self._chat_usage())
        yield "data: [DONE]\n\n"

    def _chat_usage(self) -> dict[str, Any]:
        if self.usage is None:
            return {}
        tokens_in, tokens_out = self.usage
        counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        return {"usage": counts}

    def _text_output(self, text: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"id": "msg_model", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def event(kind: str, **members: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **members})}\n\n"


def response(output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    fixed = {"id": "resp_1", "object": "response", "created_at": 0, "model": "test", "parallel_tool_calls": False}
    return {**fixed, "tool_choice": "auto", "tools": [], "output": output, "status": status}


def chunk(delta: dict[str, str] | None, finish: str | None, **members: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    fixed = {"id": "chat_1", "object": "chat.completion.chunk", "created": 0, "model": "test"}
    return f"data: {json.dumps({**fixed, 'choices': choices, **members})}\n\n"


@contextmanager
def model_server(**options: Any) -> Iterator[ModelServer]:
    """A running one; ``url`` is its base URL, as a client wants it."""
    server = ModelServer(**options)
    with serve(server.app()) as url:
        server.url = f"{url}/v1"
        yield server
