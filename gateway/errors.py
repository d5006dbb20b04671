"""The taxonomy: every way a request can fail, with its status, its public code and its source.

Rules: the exception's text is for the operator's log and may name values; the client gets `title` and `message`, one
fixed sentence per code. 401 means your credential is wrong, 503 means we cannot tell right now. Knows nothing of HTTP
messages: `wire.answers` turns an error into one.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

Source = Literal["client", "backend", "gateway"]

# What of a token can be wrong: how it is put together or carried, a member of its header, a claim, its signature.
Flaw = Literal[
    "form",
    "size",
    "parts",
    "iss",
    "route",
    "alg",
    "crit",
    "typ",
    "kid",
    "signature",
    "aud",
    "exp",
    "clock",
    "owner",
    "url",
]


class GatewayError(Exception):
    """Base of the taxonomy.

    Attributes:
        status: The HTTP status of the answer.
        code: Stable and public; programs branch on it.
        source: Who has to act.
        message: One sentence for the person in front of the client.
        retry: May the user sensibly send the same again? Decides the Retry button of a stream's error event.
        issuer: Whose user it is, as far as a refused token says; one that we trust.
    """

    status: int
    code: ClassVar[str]
    source: ClassVar[Source]
    message: str
    retry: ClassVar[bool] = False
    issuer: str | None = None

    @property
    def title(self) -> str:
        return self.code.replace("_", " ").capitalize()


class ClientError(GatewayError):
    source = "client"


class RouteNotFound(ClientError):
    status, code = 404, "route_not_found"
    message = "There is nothing at this path."


class MethodNotAllowed(ClientError):
    status, code = 405, "method_not_allowed"
    message = "This path does not accept this method."

    def __init__(self, reason: str, *, allowed: Sequence[str]) -> None:
        super().__init__(reason)
        self.allowed = allowed


class MalformedPath(ClientError):
    status, code = 400, "malformed_path"
    message = "The path is not in its canonical form."


class MalformedRequest(ClientError):
    status, code = 400, "malformed_request"
    message = "The request is not valid HTTP/1.1."


class HeadersTooLarge(ClientError):
    status, code = 431, "headers_too_large"
    message = "The request's headers are too large."


class RequestTimeout(ClientError):
    status, code = 408, "request_timeout"
    message = "The request did not arrive in time."


class CredentialMissing(ClientError):
    status, code = 401, "credential_missing"
    message = "You are not signed in."


class CredentialAmbiguous(ClientError):
    status, code = 401, "credential_ambiguous"
    message = "The request carries more than one credential. Sign out, sign in and try again."


class CredentialEncrypted(ClientError):
    status, code = 401, "credential_encrypted"
    message = (
        "The cookie holds an encrypted token (JWE), which only the login library that made it can read. "
        "Configure the library to keep the signed access or ID token (JWT, three parts) in this cookie."
    )


class TokenInvalid(ClientError):
    """The token, or what carries it, does not hold. `about` says what of it: each has a fix of its own."""

    status, code = 401, "token_invalid"
    message = "Your sign-in is not valid here. Sign in again."

    def __init__(self, reason: str, *, about: Flaw = "form") -> None:
        super().__init__(reason)
        self.about = about


class TokenExpired(ClientError):
    status, code = 401, "token_expired"
    message = "Your sign-in has expired. Sign in again."


class SignInEnded(ClientError):
    """The token that opened a stream expired meanwhile. A retry carries the cookie of its own time: often a new one."""

    status, code = 401, "sign_in_ended"
    message = "Your sign-in ended while the answer was being given. Sign in again, then retry."
    retry = True


class CrossSiteRequest(ClientError):
    status, code = 403, "cross_site_request"
    message = "This page may not use the chat: its origin is not allowed."


class OperationForbidden(ClientError):
    status, code = 403, "operation_forbidden"
    message = "This operation is not allowed here."


class AccessDenied(ClientError):
    """The user is known and may not. `rule` names what forbids it, as the settings do."""

    status, code = 403, "access_denied"
    message = "You do not have permission to do this."

    def __init__(self, reason: str, *, rule: str) -> None:
        super().__init__(reason)
        self.rule = rule


class MalformedBody(ClientError):
    status, code = 400, "malformed_body"
    message = "The body is not a ChatKit request."


class BodyTooLarge(ClientError):
    status, code = 413, "body_too_large"
    message = "The request is too large."


class UnsupportedMediaType(ClientError):
    status, code = 415, "unsupported_media_type"
    message = "The body must be application/json in UTF-8, without content encoding."


class ClientDisconnected(ClientError):
    """Nobody is left to answer; the status stands in the log only (nginx's 499)."""

    status, code = 499, "client_disconnected"
    message = "The client went away."


class BackendError(GatewayError):
    source = "backend"
    retry = True


class BackendUnavailable(BackendError):
    status, code = 502, "backend_unavailable"
    message = "The assistant cannot be reached right now. Try again in a moment."


class BackendTimeout(BackendError):
    status, code = 504, "backend_timeout"
    message = "The assistant did not answer in time. Try again in a moment."


class BackendBusy(BackendError):
    status, code = 503, "backend_busy"
    message = "The assistant is busy right now. Try again in a moment."


class BackendInvalid(BackendError):
    """The backend answered, but not with what the protocol allows."""

    status, code = 502, "backend_invalid"
    message = "The assistant gave an answer that cannot be used. Try again in a moment."


class BackendFailed(BackendError):
    """The backend says itself that it failed."""

    status, code = 502, "backend_failed"
    message = "The assistant failed. Try again in a moment."


class BackendRefused(BackendError):
    """The backend refused, in a form that cannot be handed on; its status is kept."""

    code = "backend_refused"
    message = "The assistant refused this request."
    retry = False

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class BackendInterrupted(BackendError):
    """The backend went away in the middle of its answer."""

    status, code = 502, "backend_interrupted"
    message = "The answer was interrupted. Try again."


class Limited(GatewayError):
    """There is a limit, and it is reached.

    Attributes:
        retry_after: Seconds.
    """

    retry = True
    sentence: ClassVar[str]

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.message = f"{self.sentence} Try again in {retry_after} second{'' if retry_after == 1 else 's'}."


class RateLimited(Limited):
    status, code, source = 429, "rate_limited", "client"
    sentence = "You are sending requests faster than is allowed here."


class TooManyStreams(Limited):
    status, code, source = 429, "too_many_streams", "client"
    sentence = "Too many of your answers are being given at the same time."


class GatewayBusy(Limited):
    status, code, source = 503, "gateway_busy", "gateway"
    sentence = "The service is answering as many people as it can right now."


class KeysUnavailable(GatewayError):
    status, code, source = 503, "keys_unavailable", "gateway"
    message = "Sign-ins cannot be checked right now. Try again in a moment."
    retry = True


class Draining(GatewayError):
    status, code, source = 503, "draining", "gateway"
    message = "The service is restarting. Try again."
    retry = True


class InternalError(GatewayError):
    status, code, source = 500, "internal_error", "gateway"
    message = "Something went wrong on our side."
    retry = True
