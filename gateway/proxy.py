"""THE request path: it reads top to bottom and decides nothing itself.

Every decision is a pure function of a room below (match, find, check, judge, read, enrich, select, mint); what is
raised on the way is answered by `wire.rescue`, here never.
"""

from dataclasses import dataclass
from functools import partial

from gateway.auth.credentials import CredentialRule, find_credential
from gateway.auth.cross_site import (
    OriginPolicy,
    allowed_origin,
    check_cross_site,
    cors_headers,
    is_preflight,
    preflight_headers,
)
from gateway.auth.verifier import Verifier
from gateway.backends.client import BackendClient, BackendRequest
from gateway.backends.connection import Answer
from gateway.backends.relay import RelayTimes, relay_answer, relay_stream
from gateway.backends.routes import RouteTable
from gateway.chatkit import bodies, frames
from gateway.chatkit.bodies import ChatKitBody
from gateway.errors import CrossSiteRequest, GatewayError, MalformedRequest, MethodNotAllowed
from gateway.identity import Credential, Identity
from gateway.trust.assertions import HEADER as ASSERTION
from gateway.trust.assertions import AssertionMint
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.headers import only_value, select_request_headers
from gateway.wire.record import RequestRecord, record_of
from gateway.wire.reply import ClientReply
from gateway.wire.requests import cancel_on_disconnect, read_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path bound to a backend, compiled from the settings.

    Attributes:
        issuers: The `iss` values whose users may come here.
        operations: The ChatKit operations it takes.
        audience: How the backend calls itself in assertions.
        forward_token: Send the user's own token on.
        forwarded: Names of client headers that go on, lower case.
        max_body, max_metadata, max_event_tail: Bytes.
        body_timeout: Seconds.
    """

    name: str
    credential: CredentialRule
    origins: OriginPolicy
    issuers: frozenset[str]
    operations: frozenset[str]
    backend: BackendClient
    audience: str
    forward_token: bool
    forwarded: frozenset[bytes]
    times: RelayTimes
    body_timeout: float
    max_body: int
    max_metadata: int
    max_event_tail: int


class Proxy:
    """The ASGI app behind every route."""

    def __init__(self, *, routes: RouteTable[Route], verifier: Verifier, mint: AssertionMint) -> None:
        self._routes = routes
        self._verifier = verifier
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        route = self._routes.match(scope["raw_path"])
        enter_route(scope, record, route)
        if is_preflight(scope["method"], scope["headers"]):
            await answer_preflight(scope, record, route, send)
            return
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} on route {route.name!r}", allowed=["POST", "OPTIONS"])
        credential, identity = await authenticate(scope, record, route, self._verifier)
        body = await _read(scope, receive, route)
        record.operation, record.streaming = body.operation.name, body.operation.streaming
        request = self._prepare(scope, record.request_id, route, credential, identity, body)
        reply = ClientReply(send, record.answer_headers)
        async with cancel_on_disconnect(receive), route.backend.exchange(request) as answer:
            record.failure = await _relay(answer, reply, route, record)

    def _prepare(
        self,
        scope: Scope,
        request_id: str,
        route: Route,
        credential: Credential,
        identity: Identity,
        body: ChatKitBody,
    ) -> BackendRequest:
        """The request for the backend: body enriched, headers by allow-list, then the gateway's own."""
        headers = scope["headers"]
        data = bodies.enrich(
            body,
            identity,
            request_id=request_id,
            locale=_first_language(headers),
            max_metadata=route.max_metadata,
        )
        path = route.backend.address.path
        if scope["query_string"]:
            path += b"?" + scope["query_string"]
        assertion = self._mint.mint(
            identity, audience=route.audience, request_id=request_id, method="POST", path=path, body=data
        )
        ours = [
            (ASSERTION, assertion),
            (b"x-request-id", request_id.encode()),
            (b"accept-encoding", b"identity"),
        ]
        if scope["client"]:
            ours.append((b"x-forwarded-for", scope["client"][0].encode()))
        if route.forward_token:
            ours.append((b"authorization", b"Bearer " + credential.token))
        return BackendRequest(
            method="POST", path=path, headers=select_request_headers(headers, route.forwarded) + ours, body=data
        )


def enter_route(scope: Scope, record: RequestRecord, route: Route) -> None:
    """From here on every answer of this request, errors too, can be read by the route's allowed pages."""
    record.route = route.name
    record.answer_headers = cors_headers(allowed_origin(scope["headers"], route.origins))


async def authenticate(
    scope: Scope, record: RequestRecord, route: Route, verifier: Verifier
) -> tuple[Credential, Identity]:
    """Who calls this route, or an error of the 401, 403 or 503 kind."""
    headers = scope["headers"]
    credential = find_credential(headers, route.credential)
    record.credential = credential.source
    if credential.source == "cookie":
        check_cross_site(scope["method"], headers, route.origins)
    identity = await verifier.verify(credential, route.issuers)
    record.note_identity(identity)
    return credential, identity


async def _read(scope: Scope, receive: Receive, route: Route) -> ChatKitBody:
    headers = scope["headers"]
    try:
        media_type, coding = only_value(headers, b"content-type"), only_value(headers, b"content-encoding")
    except ValueError as exc:
        raise MalformedRequest(str(exc)) from exc
    bodies.check_content_type(media_type, coding)
    data = await read_body(receive, headers, max_body=route.max_body, timeout=route.body_timeout)
    return bodies.read_body(data, route.operations)


async def _relay(answer: Answer, reply: ClientReply, route: Route, record: RequestRecord) -> GatewayError | None:
    if not record.streaming:
        return await relay_answer(answer, reply, route.times)
    error_frame = partial(frames.error_frame_for, request_id=record.request_id)
    framing = frames.ChatKitFraming(max_tail=route.max_event_tail, error_frame=error_frame)
    return await relay_stream(answer, reply, route.times, framing)


async def answer_preflight(scope: Scope, record: RequestRecord, route: Route, send: Send) -> None:
    """Leave for an allowed page to send what it is about to send; anybody else gets a 403."""
    if allowed_origin(scope["headers"], route.origins) is None:
        raise CrossSiteRequest("preflight from an origin that is not listed")
    headers = [*preflight_headers(route.origins), *record.answer_headers]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _first_language(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The first tag of Accept-Language, which carries ChatKit's active locale. RFC 9110 section 12.5.4."""
    value = next((value for name, value in headers if name == b"accept-language"), b"")
    tag = value.partition(b",")[0].partition(b";")[0].strip()
    return tag.decode() if 0 < len(tag) <= 35 and tag.replace(b"-", b"").isalnum() else None
