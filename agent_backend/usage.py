"""What an answer cost, in tokens: noted on its log line, and counted.

Rules: the figures are the model's own, summed over every request of the answer, nested agents included; nothing is
estimated. Where a part is not known (cut off, or an endpoint that does not say) the rest is counted and called partial.
Counting happens beside the answer: it delays none and fails none, it is bounded, and what cannot be written is logged
with its figures. Knows nothing of databases.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from agents import Usage

from agent_backend.context import Owner, RequestContext

# Seconds for one write; a database that takes longer is in trouble, and its own log line says so.
WRITE_TIMEOUT = 10.0
# Writes under way. One per answer that ends: far more than end at once, and a few hundred bytes each.
MAX_PENDING = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Of one answer: requests to the model, tokens in and out; whether that is all of it.

    What is asked beside the answers, a title for example, costs as well and is ``answers=0``.
    """

    answers: int = 1
    requests: int = 0
    input: int = 0
    output: int = 0
    is_partial: bool = False


class UsageStore(Protocol):
    async def add(self, owner: Owner, thread_id: str, tokens: Tokens) -> None:
        """Count one answer."""
        ...


def tokens_of(usage: Usage, *, is_whole: bool, answers: int = 1) -> Tokens:
    """The figures of a run.

    Args:
        answers: 0 for what was asked beside the answers.
        is_whole: The run came to its end. A request that did not is in no sum: models say their figures last.
    """
    # The SDK keeps an entry for each request that came with figures.
    is_silent = usage.requests > len(usage.request_usage_entries)
    return Tokens(
        answers=answers,
        requests=usage.requests,
        input=usage.input_tokens,
        output=usage.output_tokens,
        is_partial=is_silent or not is_whole,
    )


class UsageCounter:
    """Notes and counts what answers cost. Without a ``store`` it only notes."""

    def __init__(
        self,
        *,
        store: UsageStore | None = None,
        write_timeout: float = WRITE_TIMEOUT,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._store = store
        self._write_timeout = write_timeout
        self._max_pending = max_pending
        self._writes: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<UsageCounter {len(self._writes)} of {self._max_pending} under way>"

    def count(self, context: RequestContext, thread_id: str, tokens: Tokens) -> None:
        """One answer has ended, well or not. Returns at once."""
        context.notes.update(tokens_in=tokens.input, tokens_out=tokens.output)
        if tokens.is_partial:
            context.notes["usage"] = "partial"
        if self._store is None:
            return
        if len(self._writes) >= self._max_pending:
            self._lose(context, thread_id, tokens, "too many writes under way")
            return
        task = asyncio.create_task(self._write(self._store, context, thread_id, tokens))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def finish(self) -> None:
        """Wait for what is still being written; at shutdown. Each write has its own time limit."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def _write(self, store: UsageStore, context: RequestContext, thread_id: str, tokens: Tokens) -> None:
        try:
            async with asyncio.timeout(self._write_timeout):
                await store.add(context.owner, thread_id, tokens)
        except Exception as exc:  # nobody waits for this task: whatever it is, the line is all that is left
            self._lose(context, thread_id, tokens, type(exc).__name__)

    def _lose(self, context: RequestContext, thread_id: str, tokens: Tokens, reason: str) -> None:
        figures = {"requests": tokens.requests, "tokens_in": tokens.input, "tokens_out": tokens.output}
        fields = {"request_id": context.request_id, "user": context.user.digest, "thread_id": thread_id}
        logger.error("usage not counted", extra={"fields": {**fields, **figures, "reason": reason}})
