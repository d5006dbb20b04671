"""A model with time limits, and a second attempt where that can do no harm.

Rules: a request is repeated only while no token has come; once one was passed on, nothing is ever asked again. All
attempts and the waits between them share the time until the first token, so a user waits no longer for three than for
one. An endpoint that wants a longer rest than there is time for has answered: it is busy. Whatever ends the answer, the
stream below is closed, and with it the connection. Knows nothing of providers beyond `model_failures`.

    connect_timeout       the client's, once per attempt
    first_token_timeout   ┐
    token_timeout         ├ kept here: keep-alive comments of a stalled endpoint feed a client's own limit
    answer_timeout        ┘
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from agents.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from openai.types.responses import ResponseCompletedEvent

from agent_backend.model_failures import ModelFailure, ModelTimedOut, ModelUnreadable, failure_in, failure_of

# Seconds to reach an endpoint. It is in the same house or behind a load balancer that answers at once.
CONNECT_TIMEOUT = 5.0
# Seconds until the first token. A reasoning model may think for a minute; nobody waits longer without a word.
FIRST_TOKEN_TIMEOUT = 60.0
# Seconds between two tokens. A model makes ten or more a second; half a minute is a stalled one.
TOKEN_TIMEOUT = 30.0
# Seconds for one whole answer of the model. Some 10,000 tokens at a slow endpoint's pace.
ANSWER_TIMEOUT = 300.0
# Attempts besides the first.
RETRIES = 2
# Seconds before the first repeat; each further wait is twice as long.
RETRY_WAIT = 0.5
# Seconds of one wait at most, whatever a Retry-After asks for. More is an answer: busy.
MAX_RETRY_WAIT = 10.0

# Events that say that an answer will come, and nothing of it.
PREAMBLE = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
    }
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds, and how often to ask again."""

    first_token_timeout: float = FIRST_TOKEN_TIMEOUT
    token_timeout: float = TOKEN_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT
    retries: int = RETRIES
    retry_wait: float = RETRY_WAIT
    max_retry_wait: float = MAX_RETRY_WAIT


Events = AsyncIterator[TResponseStreamEvent]


class PatientModel(Model):
    """Asks another model.

    Args:
        jitter: a number from 0 to 1, for the waits: those who were refused together must not return together.
    """

    def __init__(self, model: Model, *, patience: Patience, jitter: Callable[[], float] = random.random) -> None:
        self._model = model
        self._patience = patience
        self._jitter = jitter

    def __repr__(self) -> str:
        return f"<PatientModel {type(self._model).__name__}>"

    async def stream_response(self, *given: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        """The events of one answer. Raises a `ModelFailure` for what goes wrong at the endpoint."""
        now = asyncio.get_running_loop().time()
        first_by = now + min(self._patience.first_token_timeout, self._patience.answer_timeout)
        done_by = now + self._patience.answer_timeout
        opening, events = await self._begin(given, options, first_by=first_by)
        try:
            for event in opening:
                yield event
            while (following := await self._next(events, done_by=done_by)) is not None:
                yield following
        finally:
            await close(events)

    async def get_response(self, *given: Any, **options: Any) -> ModelResponse:
        """One answer as a whole, within the time that one may take."""
        done_by = asyncio.get_running_loop().time() + self._patience.answer_timeout
        attempt = 0
        while True:
            try:
                async with asyncio.timeout_at(done_by):
                    return await self._model.get_response(*given, **options)
            except Exception as exc:
                await self._wait_or_raise(exc, attempt, until=done_by)
            attempt += 1

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return self._model.get_retry_advice(request)

    async def close(self) -> None:
        await self._model.close()

    async def _begin(
        self, given: tuple[Any, ...], options: dict[str, Any], *, first_by: float
    ) -> tuple[list[TResponseStreamEvent], Events]:
        """Ask, again if need be, until there is a first token: all events up to it, and the stream that goes on."""
        attempt = 0
        while True:
            events = self._model.stream_response(*given, **options)
            try:
                async with asyncio.timeout_at(first_by):
                    return await read_opening(events), events
            except BaseException as exc:
                await close(events)
                if not isinstance(exc, Exception):
                    raise
                await self._wait_or_raise(exc, attempt, until=first_by)
            attempt += 1

    async def _next(self, events: Events, *, done_by: float) -> TResponseStreamEvent | None:
        """What comes after the first token, one by one; None at the end."""
        next_by = asyncio.get_running_loop().time() + self._patience.token_timeout
        try:
            async with asyncio.timeout_at(min(next_by, done_by)):
                event = await anext(events, None)
        except TimeoutError as exc:
            limit = "answer_timeout" if done_by < next_by else "token_timeout"
            raise ModelTimedOut(f"[model] {limit}, in the middle of an answer") from exc
        except Exception as exc:
            failure = failure_of(exc, has_begun=True)
            if failure is None:
                raise
            raise failure from exc
        failure = failure_in(event, has_begun=True)
        if failure:
            raise failure
        return event

    async def _wait_or_raise(self, exc: Exception, attempt: int, *, until: float) -> None:
        """Wait before the next attempt, or raise what there is to raise."""
        if isinstance(exc, TimeoutError):
            raise ModelTimedOut(f"no token within [model] first_token_timeout, in {attempt + 1} attempts") from exc
        failure = failure_of(exc, has_begun=False)
        if failure is None:
            raise exc
        wait = wait_before(attempt, failure, self._patience, jitter=self._jitter)
        left = until - asyncio.get_running_loop().time()
        if wait is None or wait >= left:
            raise failure from exc
        logger.info("model asked again", extra={"fields": {"code": failure.code, "attempt": attempt + 2, "wait": wait}})
        await asyncio.sleep(wait)


def wait_before(
    attempt: int, failure: ModelFailure, patience: Patience, *, jitter: Callable[[], float]
) -> float | None:
    """Seconds until the next attempt; None when there is to be none.

    Args:
        attempt: The one that failed, from 0.
        jitter: From 0 to 1. The wait is half fixed, half by chance; a Retry-After is kept to the second.
    """
    if not failure.may_pass or attempt >= patience.retries:
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= patience.max_retry_wait else None
    wait = min(patience.retry_wait * 2.0**attempt, patience.max_retry_wait)
    return round(wait * (0.5 + jitter() / 2), 3)


async def read_opening(events: Events) -> list[TResponseStreamEvent]:
    """The events up to the first token, that one included. Raises `ModelFailure` when the stream ends before it."""
    opening: list[TResponseStreamEvent] = []
    async for event in events:
        failure = failure_in(event, has_begun=False)
        if failure:
            raise failure
        if isinstance(event, ResponseCompletedEvent) and not event.response.output:
            break  # what the SDK makes of a chat-completions stream with nothing in it, such as a page of HTML
        opening.append(event)
        if is_token(event):
            return opening
    raise ModelUnreadable("the stream ended without a token")


def is_token(event: TResponseStreamEvent) -> bool:
    """Is there anything of the answer in it? The first delta of many endpoints is empty, and comes at once."""
    return event.type not in PREAMBLE and getattr(event, "delta", True) != ""


async def close(events: Events) -> None:
    """Close a stream, and its connection with it. Models are promised to be iterators; most are generators."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()
