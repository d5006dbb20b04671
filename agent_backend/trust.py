"""The gateway's assertion in, a `RequestContext` out; everything else refused.

It works in anybody's ChatKitServer. Make it once, then one line per request:

    trust = GatewayTrust(jwks_url="http://gateway:8080/.well-known/jwks.json", issuer="gateway", audience="support")

    context = await trust.authenticate(request)                  # a Starlette or FastAPI request
    result = await server.process(context.body, context)

and ``app.add_exception_handler(Problem, answer_problem)`` turns a refusal into problem+json.

Rules: cheap before dear, so a stranger costs one signature check and no body; a use is noted last, so a request refused
for its body does not burn the assertion of the true one. The signature is checked with one key selected by `kid`, and
that is all the JOSE library is asked.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from jose import jwk
from jose.exceptions import JOSEError
from starlette.requests import ClientDisconnect, Request

from agent_backend.assertion import (
    ALGORITHM,
    Assertion,
    Rules,
    Sent,
    judge_body,
    judge_claims,
    judge_request,
    parse_assertion,
    read_user,
    text,
)
from agent_backend.context import MAX_PAGE_BYTES, RequestContext, User, read_locale, read_page
from agent_backend.gateway_keys import GatewayKeys
from agent_backend.problems import AssertionRefused, BodyIncomplete, BodyTooLarge, Problem, answer_problem
from agent_backend.replay import ReplayMemory, Replays

__all__ = ["AssertionRefused", "GatewayTrust", "Problem", "RequestContext", "answer_problem"]

HEADER = "x-gateway-assertion"
# Seconds to fetch the keys: they are next door and small.
KEYS_TIMEOUT = 5.0
# Seconds for a body to arrive: the gateway sends it in one piece.
BODY_TIMEOUT = 30.0
# Bytes. ChatKit's largest message is text; attachments travel on their own.
MAX_BODY = 10 * 1024 * 1024


class GatewayTrust:
    """Believes one gateway.

    Args:
        jwks_url: where the gateway publishes its public keys.
        issuer: the gateway's name, `iss`.
        audience: this backend's name, `aud`.
        leeway: seconds two clocks may be apart.
        max_body: bytes read before a request is refused with 413.
        max_page: bytes kept of the page context.
        allow_unbound_body: accept assertions that say nothing about the body (uploads streamed through the gateway).
        replays: where uses are noted; this process's memory by default.
        http: a client for the keys; closed by `aclose`.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        jwks_url: str,
        issuer: str,
        audience: str,
        leeway: float = 5.0,
        max_body: int = MAX_BODY,
        max_page: int = MAX_PAGE_BYTES,
        allow_unbound_body: bool = False,
        replays: Replays | None = None,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = Rules(issuer=issuer, audience=audience, leeway=leeway)
        self._max_body = max_body
        self._max_page = max_page
        self._allow_unbound_body = allow_unbound_body
        self._replays = replays or ReplayMemory(clock=clock)
        # trust_env off: a proxy variable must not decide whose keys we believe.
        self._http = http or httpx.AsyncClient(timeout=KEYS_TIMEOUT, trust_env=False)
        self._keys = GatewayKeys(url=jwks_url, http=self._http)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<GatewayTrust {self._rules.issuer} -> {self._rules.audience} {self._keys!r}>"

    async def authenticate(self, request: Request) -> RequestContext:
        """Who asks, or a `Problem`: 401 for a wrong assertion, 413 for a long body, 503 when we cannot tell."""
        claims, user = await self._judge_head(request)
        # An upload outlives its assertion: what says nothing about the body is used up before the body comes.
        is_bound = claims["req"].get("sha256") is not None or not self._allow_unbound_body
        if not is_bound:
            await self._use(claims)
        body = await self._read_body(request)
        judge_body(claims, body, allow_unbound=self._allow_unbound_body)
        if is_bound:
            # Again: a body may take its time, and a use is remembered no longer than the assertion is good.
            judge_claims(claims, self._rules, now=self._clock())
            await self._use(claims)
        metadata = read_metadata(body)
        return RequestContext(
            user=user,
            request_id=text(claims, "request_id"),
            locale=read_locale(metadata),
            page=read_page(metadata, max_bytes=self._max_page),
            token=read_token(request),
            body=body,
            claims=claims,
        )

    async def authenticate_unread(self, request: Request) -> RequestContext:
        """Who uploads or downloads; the body stays unread. For routes that the gateway passes through, and no others:
        an assertion that says anything about a body is refused here, as one that says nothing is by `authenticate`.
        """
        claims, user = await self._judge_head(request)
        if claims["req"].get("sha256", "") is not None:
            raise AssertionRefused("assertion_bound_body", "sha256 is not null")
        await self._use(claims)
        return RequestContext(user=user, request_id=text(claims, "request_id"), token=read_token(request))

    async def _judge_head(self, request: Request) -> tuple[Mapping[str, Any], User]:
        """All that can be said before the body: signature, claims, method, path, user."""
        assertion = parse_assertion(only_header(request))
        check_signature(assertion, await self._keys.find(assertion.kid))
        claims = assertion.claims
        judge_claims(claims, self._rules, now=self._clock())
        judge_request(claims, Sent(method=request.method, target=target_of(request)))
        text(claims, "request_id")
        return claims, read_user(claims)

    async def _use(self, claims: Mapping[str, Any]) -> None:
        await self._replays.use(claims["jti"], until=claims["exp"] + self._rules.leeway)

    async def _read_body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                return await read_body(request, self._max_body)
        except TimeoutError as exc:
            raise BodyIncomplete(f"not complete within {BODY_TIMEOUT:.0f} s") from exc

    async def warm_up(self) -> bool:
        """Have the gateway's keys before the first request. False when they cannot be had now."""
        return await self._keys.warm_up()

    async def aclose(self) -> None:
        await self._keys.aclose()
        await self._http.aclose()


def only_header(request: Request) -> str:
    """The one assertion. Two are refused: whoever picks one may pick another than the gateway's."""
    found = request.headers.getlist(HEADER)
    if not found:
        raise AssertionRefused("assertion_missing", f"no {HEADER}")
    if len(found) > 1:
        raise AssertionRefused("assertion_ambiguous", f"{len(found)} {HEADER} headers")
    return found[0]


def check_signature(assertion: Assertion, key: Mapping[str, Any]) -> None:
    """ES256 with this one key. RFC 7518 section 3.4: the signature is R and S, 32 bytes each."""
    try:
        is_good = len(assertion.signature) == 64 and jwk.construct(dict(key), ALGORITHM).verify(
            assertion.signed, assertion.signature
        )
    except (JOSEError, ValueError) as exc:
        raise AssertionRefused("assertion_wrong_signature", repr(exc)) from exc
    if not is_good:
        raise AssertionRefused("assertion_wrong_signature", f"kid {assertion.kid!r}")


def target_of(request: Request) -> str:
    """The raw path with ``?query``, as sent: never `request.url`, which the Host header shapes."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def read_body(request: Request, max_body: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_body:
                raise BodyTooLarge(f"more than {max_body} bytes")
    except ClientDisconnect as exc:
        raise BodyIncomplete(f"the client left after {len(body)} bytes") from exc
    return bytes(body)


def read_metadata(body: bytes) -> Mapping[str, Any]:
    """The body's top-level ``metadata``; ChatKitServer reads neither this nor the copy in ``params.input``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def read_token(request: Request) -> str | None:
    """The user's own token, where the gateway forwards it: for calls made in the user's name."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
