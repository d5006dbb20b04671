"""Problems: one shape for all, and nothing in it that only we should know."""

import json

import pytest

from agent_backend.problems import (
    AssertionRefused,
    BodyIncomplete,
    BodyTooLarge,
    Conflict,
    DatabaseUnavailable,
    InvalidRequest,
    KeysUnavailable,
    NotFound,
    NotSupported,
    Problem,
    ReplayMemoryFull,
    ReplaysUnavailable,
    ThreadBusy,
    ThreadClosed,
    ThreadLocked,
)

ALL = [
    Problem("secret"),
    AssertionRefused("assertion_expired", "secret"),
    *(
        kind("secret")
        for kind in (
            BodyIncomplete,
            BodyTooLarge,
            Conflict,
            DatabaseUnavailable,
            InvalidRequest,
            KeysUnavailable,
            NotFound,
            NotSupported,
            ReplayMemoryFull,
            ReplaysUnavailable,
            ThreadBusy,
            ThreadClosed,
            ThreadLocked,
        )
    ),
]


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.code)
def test_every_problem_is_told_in_one_shape(problem: Problem) -> None:
    """RFC 9457 with the message ChatKit shows; what the exception says stays with us."""
    response = problem.response("r-1")
    content = json.loads(bytes(response.body))

    assert response.media_type == "application/problem+json"
    assert set(content) == {"title", "status", "code", "message", "request_id"}
    assert (content["status"], content["code"]) == (response.status_code, problem.code)
    assert "secret" not in str(content)


def test_codes_are_unique() -> None:
    """A code means one thing."""
    assert len({problem.code for problem in ALL}) == len(ALL)
