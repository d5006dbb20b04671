"""What can go wrong with a model, and what each reader is told about it.

Rules: each failure has a code for the log, a sentence for the user, and a fix for the operator. The sentence is ours;
what an endpoint says about itself may repeat a key or a user's words and goes nowhere. A failure that may pass
(`may_pass`) is worth repeating, as long as no token has come. Knows errors of the model's client by their type, and
nothing of agents, threads or settings.

    busy            429, 503, 529; a Retry-After says how long
    unavailable     not reached, 5xx, cut off before the first token
    unreadable      200, but no stream of a model's: the base_url of something else, or a proxy's page
    misconfigured   401, 403, 404, 405, no such model, no money left
    timed_out       one of our own time limits
    interrupted     cut off after the first token
    refused         the provider's content policy
    too_long        more than the model can read
    rejected        any other 4xx
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx2
from agents.exceptions import ModelBehaviorError
from openai import APIConnectionError, APIError, APIStatusError, ContentFilterFinishReasonError

# What endpoints call these things; vLLM and others have only words for the last one.
TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large", "input_too_long"})
REFUSED = frozenset({"content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"})
MISCONFIGURED = frozenset({"insufficient_quota", "billing_hard_limit_reached", "model_not_found", "invalid_api_key"})
BUSY = frozenset({"rate_limit_exceeded", "overloaded", "overloaded_error", "server_overloaded", "slow_down"})
TOO_LONG_WORDS = ("maximum context length", "context window", "context length", "too many tokens", "prompt is too long")


class ModelFailure(Exception):
    """A model that did not answer. Its text is for operators and holds nothing an endpoint said.

    Attributes:
        message: What the user reads.
        allow_retry: Whether ChatKit shows its Retry button.
        may_pass: Whether the same request may be answered in a moment.
        retry_after: Seconds the endpoint asked for, or None.
    """

    code: ClassVar[str] = "model_failed"
    message: ClassVar[str] = "The assistant could not answer. Please try again."
    fix: ClassVar[str] = ""
    allow_retry: ClassVar[bool] = True
    may_pass: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__("; ".join(filter(None, [detail, self.fix])))
        self.retry_after = retry_after


class ModelBusy(ModelFailure):
    code = "model_busy"
    message = "The assistant is very busy at the moment. Please try again in a little while."
    fix = "raise the endpoint's limits, or run more of it, if this stays"
    may_pass = True


class ModelUnavailable(ModelFailure):
    code = "model_unavailable"
    message = "The assistant cannot be reached at the moment. Please try again in a little while."
    fix = "is the endpoint up, and [model] base_url right?"
    may_pass = True


class ModelUnreadable(ModelFailure):
    code = "model_unreadable"
    message = "The assistant cannot be reached at the moment. Please try again in a little while."
    fix = "does [model] base_url lead to an endpoint that speaks the protocol of [model] api?"
    may_pass = True


class ModelMisconfigured(ModelFailure):
    code = "model_misconfigured"
    message = "The assistant is not set up correctly. Its operators can see why."
    fix = "check [model] api_key, base_url and name, and the account behind them"
    allow_retry = False


class ModelTimedOut(ModelFailure):
    code = "model_timed_out"
    message = "The assistant took too long to answer. Please try again."


class ModelInterrupted(ModelFailure):
    code = "model_interrupted"
    message = "The answer was interrupted. Please try again."
    fix = "the endpoint ended it in the middle"


class ModelRefused(ModelFailure):
    code = "model_refused"
    message = "The assistant may not answer this. Please put it in another way."
    fix = "the provider's content policy"
    allow_retry = False


class ModelInputTooLong(ModelFailure):
    code = "model_input_too_long"
    message = "This conversation is too long for the assistant. Please start a new one."
    fix = "lower the limits in [history] and [page_context], or choose a model that reads more"
    allow_retry = False


class ModelRejected(ModelFailure):
    code = "model_rejected"
    message = "The assistant could not read this conversation. Please try again, or start a new one."
    fix = "the endpoint takes another protocol or other parameters: check [model] api"


def failure_of(exc: Exception, *, has_begun: bool, now: datetime | None = None) -> ModelFailure | None:
    """The failure an error of the client's stands for; None when it is none of the model's.

    Args:
        has_begun: A token has come: a cut is an interruption now.
        now: For a Retry-After that is a date.
    """
    match exc:
        case ModelFailure():
            return exc
        case TimeoutError():
            return ModelTimedOut("a time limit of the client's")
        case APIStatusError():
            return of_status(exc, now or datetime.now(UTC))
        case APIConnectionError() | httpx2.TransportError():
            kind = ModelInterrupted if has_begun else ModelUnavailable
            return kind(type(exc.__cause__ or exc).__name__)
        case ContentFilterFinishReasonError():
            return ModelRefused("finish_reason content_filter")
        case APIError():
            return of_code(exc.code, exc.message) or (ModelInterrupted if has_begun else ModelUnavailable)(
                f"an error in the stream, code {plain(exc.code)}"
            )
        case json.JSONDecodeError() | UnicodeDecodeError() | ModelBehaviorError():
            return (ModelInterrupted if has_begun else ModelUnreadable)(type(exc).__name__)
    return None


def of_status(exc: APIStatusError, now: datetime) -> ModelFailure:
    """In this order: the code the endpoint names, then the status."""
    known = of_code(exc.code, exc.message)
    detail = f"status {exc.status_code}" + (f", code {plain(exc.code)}" if exc.code else "")
    if known is not None and not isinstance(known, ModelBusy):
        return known
    status = exc.status_code
    if status in {429, 503, 529}:
        return ModelBusy(detail, retry_after=read_retry_after(exc.response.headers, now))
    if status in {401, 403, 404, 405}:
        return ModelMisconfigured(detail)
    if status == 413:
        return ModelInputTooLong(detail)
    if status >= 500 or status in {408, 409}:
        return ModelUnavailable(detail, retry_after=read_retry_after(exc.response.headers, now))
    return ModelRejected(detail)


def of_code(code: str | None, words: str) -> ModelFailure | None:
    """What the endpoint's own code stands for, where it has one that we know."""
    table: list[tuple[frozenset[str], Callable[[str], ModelFailure]]] = [
        (TOO_LONG, ModelInputTooLong),
        (REFUSED, ModelRefused),
        (MISCONFIGURED, ModelMisconfigured),
        (BUSY, ModelBusy),
    ]
    for codes, kind in table:
        if code in codes:
            return kind(f"code {code}")
    if any(text in words.lower() for text in TOO_LONG_WORDS):
        return ModelInputTooLong("it said so in words")
    return None


def failure_in(event: Any, *, has_begun: bool) -> ModelFailure | None:
    """The failure that an event of the stream is; None for all others."""
    kind = getattr(event, "type", None)
    if kind in {"error", "response.error"}:
        return of_code(event.code, event.message) or (ModelInterrupted if has_begun else ModelUnavailable)(
            f"an error in the stream, code {plain(event.code)}"
        )
    if kind == "response.failed":
        error = event.response.error
        code, words = (error.code, error.message) if error else (None, "")
        return of_code(code, words) or (ModelInterrupted if has_begun else ModelUnavailable)(
            f"response.failed, code {plain(code)}"
        )
    if kind == "response.incomplete":
        details = event.response.incomplete_details
        reason = details.reason if details else None
        return ModelRefused() if reason == "content_filter" else ModelInterrupted(f"incomplete, {plain(reason)}")
    return None


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, of ``Retry-After``: a number or a date. RFC 9110 section 10.2.3."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None


def plain(code: str | None) -> str:
    """A code as a log may have it: short, and nothing but a word."""
    word = str(code or "none")
    return word if len(word) <= 40 and word.replace("_", "").replace("-", "").isalnum() else "unknown"
