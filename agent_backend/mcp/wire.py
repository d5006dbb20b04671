"""The HTTP client under one MCP connection, which notes what became of each request.

Rules: the SDK turns a refused token, a restarted server and a cut connection into much the same error. What must be
known to act well is seen here: was the call sent, and with what status was it answered. The header with the user's
token is set at the last moment, by the client's own authentication: it is in no options, log or `repr`, and the client
never takes it to another host.
"""

import json
import ssl
from collections.abc import Generator
from functools import cache
from typing import Any

import httpx2

# The user's token, or the user, is not accepted.
REFUSED = frozenset({401, 403})
# Answers that say that a call was not carried out. 404 is a session the server no longer knows.
NOT_CARRIED_OUT = REFUSED | {404}


class HeaderIdentity(httpx2.Auth):
    """Sets one header on every request."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def __repr__(self) -> str:
        return f"<HeaderIdentity {self._name}>"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers[self._name] = self._value
        yield request


class Wire(httpx2.AsyncClient):
    """One connection's client. ``status`` is of the latest answer to a POST, 0 for none."""

    def __init__(self, **options: Any) -> None:
        hooks = {"response": [self._note_answer]}
        super().__init__(**options, verify=certificates(), follow_redirects=False, event_hooks=hooks)
        self.begin_call()

    @property
    def is_refused(self) -> bool:
        return self.status in REFUSED

    def begin_call(self) -> None:
        self.was_tried = False
        self.status = 0
        self.may_have_run = False

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        is_call = is_tool_call(request)
        self.was_tried = True
        # Until the contrary is known: a call can be given up while its answer is still awaited here.
        self.may_have_run = self.may_have_run or is_call
        try:
            return await super().send(request, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            self.may_have_run = self.may_have_run and not is_call
            raise

    async def _note_answer(self, response: httpx2.Response) -> None:
        """A hook, because the SDK has one, too, that raises in the middle of `send`."""
        if response.request.method == "POST":
            self.status = response.status_code
        if is_tool_call(response.request) and response.status_code in NOT_CARRIED_OUT:
            self.may_have_run = False


@cache
def certificates() -> ssl.SSLContext:
    """Whom to believe, read once: reading it takes tens of milliseconds, in which no answer moves."""
    return httpx2.create_ssl_context()


def is_tool_call(request: httpx2.Request) -> bool:
    if request.method != "POST":
        return False
    try:
        message = json.loads(request.content)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("method") == "tools/call"
