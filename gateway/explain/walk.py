"""One request, walked from step to step as the proxy does it, each step told with its value.

Rules: every decision is made by the function that makes it in service, in that order; what was not given is passed
over and said so, never guessed; nothing is told of a token or its claims but what a rule looks at. Counts no limits and
contacts no backend.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.auth.access import AccessRule, check_access
from gateway.auth.credentials import find_credential
from gateway.auth.cross_site import check_cross_site, is_preflight
from gateway.auth.keys import KeySet
from gateway.auth.verifier import Examination, Verifier, check_issuer
from gateway.backends.routes import RouteTable
from gateway.chatkit import bodies
from gateway.endpoints import allow_get, find_asked_route
from gateway.entrance import Facts, Route, answer_preflight, check_method, enter_route
from gateway.errors import GatewayError
from gateway.explain.captures import Given
from gateway.identity import Credential, Identity
from gateway.proxy import read_chatkit
from gateway.settings import Settings
from gateway.settings.values import OWN_PATHS
from gateway.wire.asgi import Message, Receive, Scope, Send
from gateway.wire.record import RequestRecord, attach, record_of
from gateway.wire.requests import find_length

# Stands for the request's own id, which is not known: it decides nothing.
REQUEST_ID = "explain"

# The whole of a header that a page cannot choose.
_PAGE_HEADERS = (b"origin", b"sec-fetch-site")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: its name, what it found or why it failed."""

    name: str
    value: str
    outcome: Literal["ok", "failed", "passed over"] = "ok"


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a walk found.

    Attributes:
        failure: What the request is refused with, or None.
        seen: How far its token came.
        rule: The last rule that was asked.
    """

    steps: list[Step] = field(default_factory=list)
    failure: GatewayError | None = None
    route: Route | None = None
    credential: Credential | None = None
    seen: Examination = field(default_factory=Examination)
    identity: Identity | None = None
    rule: AccessRule | None = None


class Walk:
    """The ASGI app that walks; use it for one request.

    Args:
        given: What it is about.
        routes: By name; ``table`` has the same by path.
        clock: Wall-clock seconds, as the verifier's.
    """

    def __init__(
        self,
        *,
        given: Given,
        settings: Settings,
        routes: Mapping[str, Route],
        table: RouteTable[Route],
        verifier: Verifier,
        clock: Callable[[], float],
    ) -> None:
        self.found = Findings()
        self.bug: Exception | None = None
        self._given = given
        self._settings = settings
        self._routes = routes
        self._table = table
        self._verifier = verifier
        self._clock = clock
        self._at = "request"
        self._facts: Facts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        attach(scope, RequestRecord(request_id=REQUEST_ID, started=0.0, method=scope["method"]))
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._walk(scope, receive, watched)
        except GatewayError as exc:
            self.found.failure = exc
            self._tell(str(exc), "failed")
        except Exception as exc:  # a bug: whoever asked must see it, not the connection
            self.bug = exc
        if not is_answered:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _walk(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = "" if self._given.body is None else f", {len(self._given.body)} bytes of body"
        self._tell(f"{scope['method']} {scope['path']}, {len(scope['headers'])} headers{size}")
        if scope["path"] == "/session":
            await self._ask_session(scope, send)
        elif scope["path"] in OWN_PATHS:
            self._step("route")
            self._tell("none: the gateway answers this path itself, to anybody")
            self._check_get(scope)
        else:
            await self._go_through(scope, receive, send)

    async def _ask_session(self, scope: Scope, send: Send) -> None:
        self._step("route")
        route = find_asked_route(self._routes, scope["query_string"])
        self._enter(scope, route, "asked by /session")
        if is_preflight(scope["method"], scope["headers"]):
            await self._answer_preflight(scope, route, send)
            return
        self._check_get(scope)
        await self._authenticate(scope, route)

    def _check_get(self, scope: Scope) -> None:
        self._step("method")
        allow_get(scope)
        self._tell(f"{scope['method']} is one of GET, HEAD")

    async def _go_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._step("route")
        route = self._table.match(scope["raw_path"])
        self._enter(scope, route, f"{'below' if route.prefix else 'at'} {route.path.decode()}")
        if is_preflight(scope["method"], scope["headers"]):
            await self._answer_preflight(scope, route, send)
            return
        self._step("method")
        check_method(scope, route)
        self._tell(f"{scope['method']} is one of {', '.join(route.methods)}")
        identity = await self._authenticate(scope, route)
        self._step("body")
        if route.kind == "opaque":
            length = find_length(scope["headers"], max_body=route.max_body)
            self._tell(f"passed through unread, {'in chunks' if length is None else f'{length} bytes'}")
        elif self._given.body is None:
            self._tell("not given, so neither its operation nor its metadata was looked at", "passed over")
        else:
            await self._read_body(scope, receive, route, identity)
        self._step("limits")
        self._tell("not counted here", "passed over")
        self._step("backend")
        self._tell(self._describe_backend(route))

    def _enter(self, scope: Scope, route: Route, how: str) -> None:
        self.found.route = route
        self._facts = enter_route(scope, record_of(scope), route)
        self._tell(f"{route.name}, {how}")

    async def _answer_preflight(self, scope: Scope, route: Route, send: Send) -> None:
        self._step("preflight")
        await answer_preflight(scope, record_of(scope), route, send)
        self._tell(f"{_page(scope)} may ask; the request itself follows")

    async def _authenticate(self, scope: Scope, route: Route) -> Identity:
        if route.signer is not None:
            self._step("signed URL")
            identity = route.signer.read(scope["method"], scope["raw_path"], scope["query_string"], route.issuers)
            self._tell(f"good for this path and method, {self._left(identity.expires_at)}")
            self._tell_user(identity)
        else:
            identity = await self._verify(self._find_credential(scope, route), route)
        self.found.identity = identity
        self._ask("access", identity, route.access)
        return identity

    def _find_credential(self, scope: Scope, route: Route) -> Credential:
        self._step("credential")
        credential = self.found.credential = find_credential(scope["headers"], route.credential)
        name = (
            f" {route.credential.cookie.decode()!r}"
            if credential.source == "cookie" and route.credential.cookie
            else ""
        )
        self._tell(f"{credential.source}{name}, {len(credential.token)} bytes")
        self._step("cross-site")
        if credential.source != "cookie":
            self._tell("not asked: no browser adds a bearer token by itself")
        elif self._given.form in ("token", "cookie"):
            self._tell("not given: a cookie alone does not say which page sent it", "passed over")
        else:
            check_cross_site(scope["method"], scope["headers"], route.origins)
            self._tell(f"{_page(scope)} may use the cookie")
        return credential

    async def _verify(self, credential: Credential, route: Route) -> Identity:
        seen = self.found.seen
        try:
            identity = await self._verifier.examine(credential.token, seen)
        finally:
            self._tell_examination(seen)
        self._tell_user(identity)
        self._step("route's issuers")
        check_issuer(identity, route.issuers)
        self._tell(f"{self._issuer_name(identity.issuer)} is among {self._issuer_names(route)}")
        return identity

    def _tell_examination(self, seen: Examination) -> None:
        """The steps that the token has come through; the one it has come to is the current one then."""
        for name, value in self._examined(seen):
            self._step(name)
            if value is None:
                return
            self._tell(value)
        self._step("user")

    def _examined(self, seen: Examination) -> Iterator[tuple[str, str | None]]:
        yield "token", "header and claims can be read" if seen.parsed else None
        name = self._issuer_name(seen.issuer.rules.issuer) if seen.issuer else ""
        yield "issuer", f"{name}, by iss {seen.issuer.rules.issuer!r}" if seen.issuer else None
        yield "header", f"alg {seen.algorithm}, kid {seen.kid!r:.80}" if seen.algorithm else None
        keys = f"{_count_keys(seen.keys)} from {self._place_of_keys(name)}" if seen.keys else ""
        yield "key", f"kid {seen.kid!r:.80}, {keys}" if keys else None
        yield "signature", "fits the key" if seen.is_signed else None
        yield "claims", self._describe_claims(seen) if seen.is_judged else None

    def _describe_claims(self, seen: Examination) -> str | None:
        if seen.parsed is None or seen.issuer is None:
            return None
        claims, rules = seen.parsed.claims, seen.issuer.rules
        given = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        return f"aud has {sorted(rules.audiences.intersection(given))}, {self._left(claims['exp'])}"

    def _tell_user(self, identity: Identity) -> None:
        digest = RequestRecord(request_id=REQUEST_ID, started=0.0, method="GET")
        digest.note_identity(identity)
        self._step("user")
        self._tell(f"{digest.user}, as the log names this one")

    async def _read_body(self, scope: Scope, receive: Receive, route: Route, identity: Identity) -> None:
        body = await read_chatkit(scope, receive, route, self._facts)
        operation = body.operation
        self._tell(f"{operation.name}, {'answered with a stream' if operation.streaming else 'answered in JSON'}")
        if operation.name in route.operation_access:
            self._ask("operation", identity, route.operation_access[operation.name])
        self._step("metadata")
        bodies.enrich(body, identity, request_id=REQUEST_ID, locale=None, max_metadata=route.max_metadata)
        self._tell(f"the client's own is under {route.max_metadata} bytes, and the user is written into it")

    def _ask(self, step: str, identity: Identity, rule: AccessRule) -> None:
        self._step(step)
        self.found.rule = rule
        check_access(identity, rule)
        asked = _describe_rule(rule)
        self._tell(f"{rule.name}: {asked}" if asked else f"{rule.name} asks for nothing")

    def _step(self, name: str) -> None:
        self._at = name

    def _tell(self, value: str, outcome: Literal["ok", "failed", "passed over"] = "ok") -> None:
        self.found.steps.append(Step(name=self._at, value=value, outcome=outcome))

    def _left(self, end: float) -> str:
        left = end - self._clock()
        return f"{left:.0f} s left" if left >= 0 else f"{-left:.0f} s over, within the leeway"

    def _issuer_name(self, issuer: str) -> str:
        return next((name for name, table in self._settings.issuers.items() if table.issuer == issuer), issuer)

    def _issuer_names(self, route: Route) -> str:
        return ", ".join(name for name, table in self._settings.issuers.items() if table.issuer in route.issuers)

    def _place_of_keys(self, name: str) -> str:
        table = self._settings.issuers[name]
        return str(table.jwks_file or table.jwks_url or table.discovery_url)

    def _describe_backend(self, route: Route) -> str:
        forwarded = "with" if route.forward_token else "without"
        return f"{route.backend.name}, as audience {route.audience!r}, {forwarded} the user's token; not contacted"


def _count_keys(keys: KeySet) -> str:
    kids = {key.kid for key in keys.keys}
    return "the only one" if len(kids) == 1 else f"one of {len(kids)}"


def _describe_rule(rule: AccessRule) -> str:
    asked = [f"scopes {sorted(rule.scopes)}"] if rule.scopes else []
    asked += [f"one of the roles {sorted(rule.roles)}"] if rule.roles else []
    asked += [f"claim {name} one of {sorted(values)}" for name, values in rule.claims.items()]
    return ", ".join(asked)


def _page(scope: Scope) -> str:
    """Which page it was, as far as the browser says it."""
    said = [
        f"{name.decode()} {value.decode('latin-1')!r:.200}" for name, value in scope["headers"] if name in _PAGE_HEADERS
    ]
    return ", ".join(said) or f"a {scope['method']} that names no page"
