"""THE request path: it reads top to bottom and decides nothing itself.

Every decision is a pure function of a room below (match, find, check, judge, read, enrich, select, mint); what is
raised on the way is answered by `wire.rescue`, here never.
"""

import asyncio
import re
import time
from collections.abc import Callable
from functools import lru_cache, partial

from gateway.auth.access import check_access
from gateway.auth.cross_site import is_preflight
from gateway.auth.verifier import Verifier
from gateway.backends.answer import Answer
from gateway.backends.client import BackendRequest, write_lines
from gateway.backends.relay import relay_answer, relay_opaque, relay_stream
from gateway.backends.routes import RouteTable
from gateway.chatkit import bodies, frames
from gateway.chatkit.bodies import ChatKitBody
from gateway.entrance import Facts, Route, answer_preflight, authenticate, check_method, enter_route
from gateway.errors import BackendTimeout, GatewayError, MalformedRequest, RequestTimeout, SignInEnded
from gateway.identity import Credential, Identity
from gateway.limits import Kind, Limiter
from gateway.trust.assertions import HEADER as ASSERTION
from gateway.trust.assertions import AssertionMint
from gateway.wire.asgi import Headers, Receive, Scope, Send, direct_of
from gateway.wire.headers import only_value, select_request_headers
from gateway.wire.record import RequestRecord, record_of
from gateway.wire.reply import INERT, ClientReply
from gateway.wire.requests import cancel_on_disconnect, find_length, read_body, stream_body, take_body
from gateway.wire.turns import Lull

# Seconds. Each piece has its own time; this only keeps the wait for an early answer finite.
LONGEST_UPLOAD = 24 * 3600.0

# Language, script, region: what a locale is made of, and no room for words. RFC 5646 section 2.1.
_LANGUAGE = re.compile(rb"[A-Za-z]{2,3}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?")


class Proxy:
    """The ASGI app behind every route.

    Args:
        lull: Told when a request is on its way.
        clock: Wall-clock seconds, as tokens' ``exp`` is.
    """

    def __init__(
        self,
        *,
        routes: RouteTable[Route],
        verifier: Verifier,
        mint: AssertionMint,
        limiter: Limiter,
        lull: Lull,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._routes = routes
        self._verifier = verifier
        self._mint = mint
        self._limiter = limiter
        self._lull = lull
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        route = self._routes.match(scope["raw_path"])
        facts = enter_route(scope, record, route)
        if is_preflight(scope["method"], scope["headers"]):
            await answer_preflight(scope, record, route, send)
            return
        check_method(scope, route)
        credential, identity = await authenticate(scope, record, route, self._verifier, facts)
        if route.kind == "opaque":
            await self._pass_through(scope, receive, send, route, facts, credential, identity)
            return
        body = await read_chatkit(scope, receive, route, facts)
        operation = body.operation
        record.operation, record.streaming = operation.name, operation.streaming
        if operation.name in route.operation_access:
            check_access(identity, route.operation_access[operation.name])
        user = _user(route, identity)
        if operation.streaming:
            self._limiter.take_place(user, route.allowance)
        try:
            # Behind the place: a stream that gets none costs nothing of the rate.
            self._limiter.admit(user, operation.kind, route.allowance)
            request = self._prepare_chat(scope, record, route, facts, credential, identity, body)
            exchange = route.backend.exchange(request)
            # Once it is sent nobody needs it: half of what a request takes while the backend works.
            del credential, facts, body, request
            with cancel_on_disconnect(scope, receive):
                async with exchange as answer:
                    self._lull.offer()
                    if operation.streaming:
                        # It runs for minutes, and does not keep what opened it, cookies and all, for that long.
                        _forget_headers(scope)
                    record.answer = answer
                    self._limit(scope, answer, route, identity if record.streaming else None)
                    reply = ClientReply(send, record.answer_headers)
                    if operation.streaming:
                        record.failure = await relay_stream(answer, reply, route.times, _framing(route, record))
                    else:
                        record.failure = await relay_answer(answer, reply, route.times)
        finally:
            if operation.streaming:
                self._limiter.leave_place(user)

    def _prepare_chat(
        self,
        scope: Scope,
        record: RequestRecord,
        route: Route,
        facts: Facts,
        credential: Credential,
        identity: Identity,
        body: ChatKitBody,
    ) -> BackendRequest:
        """The client's ChatKit request in, the backend's out."""
        data = bodies.enrich(
            body,
            identity,
            request_id=record.request_id,
            locale=facts.language,
            max_metadata=route.max_metadata,
        )
        affinity = bodies.thread_of(body) if route.backend.by_thread else None
        return self._prepare(scope, record, route, facts, credential, identity, data, affinity=affinity)

    async def _pass_through(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        route: Route,
        facts: Facts,
        credential: Credential,
        identity: Identity,
    ) -> None:
        """Uploads in and downloads out, neither read nor changed, both under a cap."""
        record = record_of(scope)
        kind: Kind = "read" if scope["method"] in ("GET", "HEAD") else "write"
        self._limiter.admit(_user(route, identity), kind, route.allowance)
        length = find_length(scope["headers"], max_body=route.max_body)
        data = b"" if length == 0 else None
        request = self._prepare(scope, record, route, facts, credential, identity, data, length=length)
        reply = ClientReply(send, record.answer_headers, INERT)
        async with route.backend.exchange(request) as answer:
            self._lull.offer()
            record.answer = answer
            self._limit(scope, answer, route, None)
            if data is None:
                await _upload(receive, answer, route)
            with cancel_on_disconnect(scope, receive):
                record.failure = await relay_opaque(answer, reply, route.times, route.max_answer)

    def _limit(self, scope: Scope, answer: Answer, route: Route, user: Identity | None) -> None:
        """An answer ends in time; one that is ``user``'s stream also with the token that opened it, or soon after."""
        seconds = route.total_timeout
        answer.end_in(seconds, lambda: _too_late(answer, seconds))
        if user is not None:
            expiry = user.expires_at
            left = expiry + route.expiry_grace.get(user.issuer, 0.0) - self._clock()
            answer.end_in(left, lambda: SignInEnded(f"the token expired at {expiry:.0f} (expiry_grace)"))
            seconds = min(seconds, left)
        direct = direct_of(scope)
        if direct is not None:
            direct.end_in(seconds)

    def _prepare(
        self,
        scope: Scope,
        record: RequestRecord,
        route: Route,
        facts: Facts,
        credential: Credential,
        identity: Identity,
        data: bytes | None,
        *,
        length: int | None = None,
        affinity: str | None = None,
    ) -> BackendRequest:
        """The request for the backend: headers by allow-list, then the gateway's own; ``data`` None is streamed in."""
        method, path = scope["method"], _backend_path(scope, route)
        # What is passed through unread cannot be bound, whether there is a body or not: one rule for the backend.
        bound = data if route.kind == "chatkit" else None
        draft = self._mint.draft(
            identity, audience=route.audience, request_id=record.request_id, method=method, path=path, body=bound
        )
        ours: Headers = [
            (b"x-request-id", record.request_id.encode()),
            (b"accept-encoding", b"identity"),
        ]
        if record.trace is not None:
            ours.append((b"traceparent", record.trace.header()))
        if record.client is not None:
            ours.append((b"x-forwarded-for", record.client.encode()))
        if route.forward_token and credential.token:
            ours.append((b"authorization", b"Bearer " + credential.token))
        if facts.forwarded is None:
            facts.forwarded = write_lines(select_request_headers(scope["headers"], route.forwarded))
        if route.forwarded_varying:
            ours += select_request_headers(scope["headers"], route.forwarded_varying)
        return BackendRequest(
            method=method,
            path=path,
            headers=ours,
            lines=facts.forwarded,
            late=(ASSERTION, partial(self._mint.sign, draft)),
            body=data,
            length=length,
            affinity=affinity,
        )


async def read_chatkit(scope: Scope, receive: Receive, route: Route, facts: Facts) -> ChatKitBody:
    """The client's body, read strictly, and the operation it asks for."""
    if not facts.is_chatkit:
        _check_declared(scope["headers"])
        facts.language = _first_language(scope["headers"])
        facts.is_chatkit = True
    data = take_body(scope, max_body=route.max_body)
    if data is None:
        data = await read_body(scope, receive, max_body=route.max_body, timeout=route.body_timeout)
    return bodies.read_body(data, route.operations, max_depth=route.max_depth)


def _check_declared(headers: Headers) -> None:
    try:
        media_type, coding = only_value(headers, b"content-type"), only_value(headers, b"content-encoding")
    except ValueError as exc:
        raise MalformedRequest(str(exc)) from exc
    bodies.check_content_type(media_type, coding)


def _forget_headers(scope: Scope) -> None:
    direct = direct_of(scope)
    if direct is not None:
        direct.forget_headers()
    scope["headers"] = []


async def _upload(receive: Receive, answer: Answer, route: Route) -> None:
    """Stream the body in until it ends, or the backend refuses it before it has.

    A backend may begin a good answer early and still read on: that body is sent to its end.
    """
    upload = asyncio.create_task(stream_body(receive, answer.send, max_body=route.max_body, idle=route.body_timeout))
    answered = asyncio.create_task(answer.wait_for_head(LONGEST_UPLOAD))
    try:
        await asyncio.wait((upload, answered), return_when=asyncio.FIRST_COMPLETED)
        if not upload.done() and 200 <= answer.status < 300 and not answer.complete:
            await asyncio.wait((upload,))
        if upload.done():
            upload.result()
            answer.finish_sending()
    finally:
        for task in (upload, answered):
            task.cancel()
        await asyncio.wait((upload, answered))


def _framing(route: Route, record: RequestRecord) -> frames.ChatKitFraming:
    error_frame = partial(frames.error_frame_for, request_id=record.request_id)
    return frames.ChatKitFraming(max_tail=route.max_event_tail, error_frame=error_frame)


def _user(route: Route, identity: Identity) -> tuple[str, str, str, str | None]:
    """Whom limits are for: the owner that backends know, on one route."""
    return route.name, identity.issuer, identity.subject, identity.tenant


def _too_late(answer: Answer, seconds: float) -> GatewayError:
    """Who took the time? A client that is still sending is not the backend's fault."""
    if answer.is_being_asked:
        return RequestTimeout(f"request not complete in {seconds:.0f} s (total_timeout)")
    return BackendTimeout(f"answer not complete in {seconds:.0f} s (total_timeout)")


def _backend_path(scope: Scope, route: Route) -> bytes:
    """The backend's own path; below a prefix, with the rest of the client's behind it; and the query as it came."""
    path = route.backend.path
    if route.prefix:
        path = path.rstrip(b"/") + b"/" + scope["raw_path"][len(route.path) :]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


def _first_language(headers: Headers) -> str | None:
    """The first tag of Accept-Language, which carries ChatKit's active locale. RFC 9110 section 12.5.4."""
    for name, value in headers:
        if name == b"accept-language":
            return _language_of(value)
    return None


@lru_cache(maxsize=256)
def _language_of(value: bytes) -> str | None:
    tag = value.partition(b",")[0].partition(b";")[0].strip()
    return tag.decode() if _LANGUAGE.fullmatch(tag) else None
