"""A model for tests that says a word only when it is allowed to, and counts them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import ResponseTextDeltaEvent

from agent_backend.offline_model import events_of, message_of


class GatedModel(Model):
    """``word0 word1 …``; ``spoken`` is how many it has said in all its answers.

    Args:
        pace: seconds that a word takes once it is allowed. Without any, a whole answer would be one step of the loop,
            in which nobody could stop it.
    """

    def __init__(self, *, words: int = 12, pace: float = 0.0) -> None:
        self.pace = pace
        self._text = "".join(f"word{number} " for number in range(words))
        self._permits = asyncio.Semaphore(0)
        self._changed = asyncio.Event()
        self._fails = False
        self.spoken = 0
        self.asked = 0

    def allow(self, words: int) -> None:
        for _ in range(words):
            self._permits.release()

    def fail(self) -> None:
        """With the next word."""
        self._fails = True
        self.allow(1)

    async def until_asked(self, times: int = 1) -> None:
        await self._until(lambda: self.asked >= times)

    async def until_spoken(self, words: int) -> None:
        await self._until(lambda: self.spoken >= words)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  the SDK's name
        *rest: Any,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        self.asked += 1
        self._changed.set()
        for event in events_of(message_of(self._text)):
            if isinstance(event, ResponseTextDeltaEvent):
                await self._permits.acquire()
                await asyncio.sleep(self.pace)
                if self._fails:
                    self._fails = False
                    raise RuntimeError("the model broke")
                self.spoken += 1
                self._changed.set()
            yield event

    async def get_response(self, *rest: Any, **options: Any) -> ModelResponse:
        return ModelResponse(output=[message_of(self._text)], usage=Usage(), response_id=None)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
