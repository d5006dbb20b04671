"""What can go wrong before an answer begins, and the one way it is told.

Rules: every problem has a status, a stable code and one fixed sentence per class; what the exception itself says is
for the log and never leaves the process. Answers are ``application/problem+json`` (RFC 9457) with a top-level
``message``, which ChatKit shows. Once a stream has begun, failures are ChatKit `error` events instead: `server`.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

# Seconds after which a 503 is worth asking again: a failover or a restart takes some.
RETRY_LATER: Mapping[str, str] = {"retry-after": "5"}


class Problem(Exception):
    """A refusal or failure that becomes an answer. The exception's text is for operators only."""

    status = 500
    code = "internal_error"
    message = "Something went wrong on our side."
    headers: Mapping[str, str] = {}

    def response(self, request_id: str | None = None) -> Response:
        """The answer: ``title``, ``status``, ``code``, ``request_id``, ``message``."""
        content = {"title": self.message, "status": self.status, "code": self.code, "message": self.message}
        if request_id:
            content["request_id"] = request_id
        return JSONResponse(content, self.status, headers=dict(self.headers), media_type="application/problem+json")


class AssertionRefused(Problem):
    """The gateway's assertion is missing, wrong, or about another request."""

    status = 401
    code = "assertion_malformed"
    message = "This backend answers its gateway only."
    # RFC 9110 section 11.6.1: a 401 names a challenge.
    headers: Mapping[str, str] = {"www-authenticate": "Gateway-Assertion"}

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code


class KeysUnavailable(Problem):
    status = 503
    code = "keys_unavailable"
    message = "We cannot check the gateway's signature right now. Please try again."
    headers: Mapping[str, str] = RETRY_LATER


class ReplayMemoryFull(Problem):
    status = 503
    code = "replay_memory_full"
    message = "Too many requests at once. Please try again."
    headers: Mapping[str, str] = RETRY_LATER


class ReplaysUnavailable(Problem):
    status = 503
    code = "replays_unavailable"
    message = "We cannot check the gateway's assertion right now. Please try again."
    headers: Mapping[str, str] = RETRY_LATER


class DatabaseUnavailable(Problem):
    """It does not answer, has no connection free in time, or was cut off; not a mistake of ours."""

    status = 503
    code = "database_unavailable"
    message = "We cannot reach our data right now. Please try again in a moment."
    headers: Mapping[str, str] = RETRY_LATER


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"
    message = "The request is too large."


class BodyIncomplete(Problem):
    """The client left while it was sending. Nobody reads the answer; the log does."""

    status = 400
    code = "body_incomplete"
    message = "The request ended too early."


class ClientLeft(Problem):
    """Nobody waits for the answer any more, and none was begun. Nobody reads this one either; the log does."""

    status = 400
    code = "client_left"
    message = "The request was given up."


class InvalidRequest(Problem):
    status = 400
    code = "invalid_request"
    message = "The request is not a valid ChatKit request."


class NotSupported(Problem):
    """A ChatKit operation this backend has not been given. A 4xx: ChatKit repeats a 5xx up to five times."""

    status = 400
    code = "operation_not_supported"
    message = "This assistant does not support that."


class NotFound(Problem):
    """Not there, or not yours: nobody learns which."""

    status = 404
    code = "not_found"
    message = "That conversation or item does not exist."


class Conflict(Problem):
    """It exists, but is not in a state that allows this."""

    status = 409
    code = "conflict"
    message = "That cannot be done in this conversation now."


class ThreadBusy(Conflict):
    """Another turn is under way in this thread, in this process or in another."""

    code = "thread_busy"
    message = "An answer is still being written in this conversation. Please wait until it is finished."


class ThreadLocked(Conflict):
    code = "thread_locked"
    message = "This conversation is locked: it takes no new messages."


class ThreadClosed(Conflict):
    code = "thread_closed"
    message = "This conversation is closed: it takes no new messages. Please start a new one."


class AttachmentNotUploaded(Conflict):
    code = "attachment_not_uploaded"
    message = "An attachment has not been uploaded yet. Please wait a moment and send again."


class AttachmentElsewhere(Conflict):
    """It was sent in another thread, and goes when that one goes."""

    code = "attachment_elsewhere"
    message = "An attachment belongs to another conversation. Please attach the file again."


async def answer_problem(request: Request, exc: Exception) -> Response:
    """For Starlette: ``Starlette(exception_handlers={Problem: answer_problem})``."""
    problem = exc if isinstance(exc, Problem) else Problem(repr(exc))
    return problem.response(request.headers.get("x-request-id"))
