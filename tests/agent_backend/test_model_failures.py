"""What an error of the model's client stands for: the user's sentence, the operator's fix, and none of its words."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from agents.exceptions import ModelBehaviorError
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ContentFilterFinishReasonError,
)

from agent_backend.model_failures import (
    ModelBusy,
    ModelFailure,
    ModelInputTooLong,
    ModelInterrupted,
    ModelMisconfigured,
    ModelRefused,
    ModelRejected,
    ModelTimedOut,
    ModelUnavailable,
    ModelUnreadable,
    failure_in,
    failure_of,
    plain,
    read_retry_after,
)

REQUEST = httpx2.Request("POST", "https://models.test/v1/responses")
SECRET = "key sk-123 and what the user said"


def refused(status: int, *, code: str | None = None, message: str = SECRET, **headers: str) -> APIStatusError:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return APIStatusError(message, response=response, body={"code": code, "message": message})


def in_stream(code: str | None) -> APIError:
    return APIError(SECRET, REQUEST, body={"code": code})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused(429), ModelBusy),
        (refused(503), ModelBusy),
        (refused(529), ModelBusy),
        (refused(500), ModelUnavailable),
        (refused(502), ModelUnavailable),
        (refused(408), ModelUnavailable),
        (refused(401), ModelMisconfigured),
        (refused(403), ModelMisconfigured),
        (refused(404), ModelMisconfigured),
        (refused(429, code="insufficient_quota"), ModelMisconfigured),
        (refused(400, code="model_not_found"), ModelMisconfigured),
        (refused(400, code="context_length_exceeded"), ModelInputTooLong),
        (refused(400, message="Maximum Context Length is 8192"), ModelInputTooLong),
        (refused(413), ModelInputTooLong),
        (refused(400, code="content_filter"), ModelRefused),
        (refused(400), ModelRejected),
        (refused(422), ModelRejected),
        (APIConnectionError(request=REQUEST), ModelUnavailable),
        (APITimeoutError(request=REQUEST), ModelUnavailable),
        (httpx2.ReadError(SECRET), ModelUnavailable),
        (httpx2.RemoteProtocolError(SECRET), ModelUnavailable),
        (in_stream(None), ModelUnavailable),
        (in_stream("rate_limit_exceeded"), ModelBusy),
        (in_stream("content_filter"), ModelRefused),
        (ContentFilterFinishReasonError(), ModelRefused),
        (json.JSONDecodeError(SECRET, SECRET, 0), ModelUnreadable),
        (ModelBehaviorError(SECRET), ModelUnreadable),
        (TimeoutError(), ModelTimedOut),
        (ModelBusy(), ModelBusy),
    ],
)
def test_each_error_stands_for_one_failure(error: Exception, kind: type[ModelFailure]) -> None:
    """And what an endpoint said about it is not in its text."""
    failure = failure_of(error, has_begun=False)

    assert type(failure) is kind
    assert "sk-123" not in str(failure)


def test_an_error_of_another_kind_is_none_of_the_models() -> None:
    """A bug keeps its name."""
    assert failure_of(KeyError("bug"), has_begun=True) is None


@pytest.mark.parametrize("error", [httpx2.ReadError(""), in_stream(None), json.JSONDecodeError("", "", 0)])
def test_after_the_first_token_a_cut_is_an_interruption(error: Exception) -> None:
    """Which is never repeated."""
    failure = failure_of(error, has_begun=True)

    assert type(failure) is ModelInterrupted
    assert failure.may_pass is False


def test_only_what_may_pass_is_repeated() -> None:
    """A wrong key is wrong the second time, too."""
    kinds = ModelFailure.__subclasses__()

    assert {kind for kind in kinds if kind.may_pass} == {ModelBusy, ModelUnavailable, ModelUnreadable}
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_operator_is_told_what_to_fix() -> None:
    """The status, the endpoint's code, and the settings to look at."""
    response = httpx2.Response(401, request=REQUEST)
    error = AuthenticationError(SECRET, response=response, body={"code": "invalid_api_key"})

    assert str(failure_of(error, has_begun=False)) == (
        "code invalid_api_key; check [model] api_key, base_url and name, and the account behind them"
    )
    assert str(failure_of(refused(404), has_begun=False)).startswith("status 404; check [model]")


def event(kind: str, **members: Any) -> Any:
    return SimpleNamespace(type=kind, **members)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (event("error", code="rate_limit_exceeded", message=SECRET), ModelBusy),
        (event("error", code=None, message=SECRET), ModelUnavailable),
        (event("response.failed", response=SimpleNamespace(error=None)), ModelUnavailable),
        (
            event(
                "response.failed", response=SimpleNamespace(error=SimpleNamespace(code="server_error", message=SECRET))
            ),
            ModelUnavailable,
        ),
        (
            event(
                "response.incomplete",
                response=SimpleNamespace(incomplete_details=SimpleNamespace(reason="content_filter")),
            ),
            ModelRefused,
        ),
        (event("response.incomplete", response=SimpleNamespace(incomplete_details=None)), ModelInterrupted),
        (event("response.output_text.delta"), None),
    ],
)
def test_events_that_are_failures(told: Any, kind: type[ModelFailure] | None) -> None:
    """The Responses API says some of them in its stream."""
    failure = failure_in(told, has_begun=False)

    assert (type(failure) if failure else None) is kind
    assert "sk-123" not in str(failure)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    """RFC 9110 section 10.2.3; what is neither is not there."""
    assert read_retry_after({"retry-after": text}, datetime(2026, 11, 22, 12, tzinfo=UTC)) == expected


@pytest.mark.parametrize("code", ["sk-123 leaked", "x" * 41, "a\nb", 'a"b'])
def test_a_code_that_is_no_word_is_not_logged(code: str) -> None:
    """It is the endpoint's text."""
    assert plain(code) == "unknown"
