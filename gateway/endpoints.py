"""What the gateway answers itself: is it alive, is it ready, which keys does it sign with, who is signed in.

`/livez` says that the process turns its loop; `/readyz` that it should get traffic; `/session` what a page asks before
it shows the chat. None of them says anything that a stranger may not know.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from gateway.auth.cross_site import is_preflight
from gateway.auth.verifier import Verifier
from gateway.chatkit.metadata import user_info
from gateway.entrance import Route, answer_preflight, authenticate, enter_route
from gateway.errors import MethodNotAllowed, RouteNotFound
from gateway.wire.answers import send_json
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.record import record_of

# Seconds a backend may keep the published keys: a new key is published well before it signs.
JWKS_MAX_AGE = 60


class Liveness:
    """GET /livez."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow_get(scope)
        await send_json(send, 200, {"status": "alive"})


class Readiness:
    """GET /readyz: 200, or 503 with the reasons.

    A gateway is ready when it can verify the users of every issuer and is not draining. Backends do not count: taking
    every gateway away because one backend is down would take the others' users down with it.
    """

    def __init__(self, *, reasons: Callable[[], Sequence[str]]) -> None:
        self._reasons = reasons

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow_get(scope)
        reasons = list(self._reasons())
        if reasons:
            await send_json(send, 503, {"status": "not ready", "reasons": reasons})
        else:
            await send_json(send, 200, {"status": "ready"})


class PublishedKeys:
    """GET /.well-known/jwks.json: the public halves of the keys that sign assertions."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow_get(scope)
        cache = (b"cache-control", b"public, max-age=%d" % JWKS_MAX_AGE)
        await send_json(send, 200, self._document, [cache])


class Session:
    """GET /session: who is signed in, never with what.

    Routes may differ in cookie and issuers: ``?route=NAME`` asks for one, without it the first in the settings answers.
    """

    def __init__(self, *, routes: Mapping[str, Route], verifier: Verifier) -> None:
        self._routes = routes
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        route = find_asked_route(self._routes, scope["query_string"])
        facts = enter_route(scope, record, route)
        if is_preflight(scope["method"], scope["headers"]):
            # A page that sends a bearer token asks first.
            await answer_preflight(scope, record, route, send)
            return
        allow_get(scope)
        _, identity = await authenticate(scope, record, route, self._verifier, facts)
        answer = {
            "authenticated": True,
            "user": user_info(identity),
            "issuer": identity.issuer,
            "expires_at": datetime.fromtimestamp(identity.expires_at, UTC).isoformat(),
        }
        await send_json(send, 200, answer, record.answer_headers)


def find_asked_route(routes: Mapping[str, Route], query: bytes) -> Route:
    """The route that ``?route=NAME`` asks for, or the first.

    Raises:
        RouteNotFound: There is none of that name.
    """
    asked = parse_qs(query.decode("latin-1")).get("route")
    name = asked[0] if asked else next(iter(routes))
    if name not in routes:
        raise RouteNotFound(f"no route {name!r:.80}")
    return routes[name]


def allow_get(scope: Scope) -> None:
    """Raises MethodNotAllowed for anything but GET and HEAD."""
    if scope["method"] not in ("GET", "HEAD"):
        raise MethodNotAllowed(f"{scope['method']} on {scope['path']}", allowed=["GET", "HEAD"])
