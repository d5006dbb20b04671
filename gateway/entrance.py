"""Who may come in: the route as compiled from the settings, the preflight, authentication, access.

The steps that every answer of a route begins with, whether the gateway answers itself or a backend does. What does not
come in is raised, and answered by `wire.rescue`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.auth.access import AccessRule, check_access
from gateway.auth.credentials import CredentialRule, find_credential
from gateway.auth.cross_site import OriginPolicy, allowed_origin, check_cross_site, cors_headers, preflight_headers
from gateway.auth.signed_urls import UrlSigner
from gateway.auth.verifier import Verifier
from gateway.backends.client import BackendClient
from gateway.backends.relay import RelayTimes
from gateway.errors import CrossSiteRequest, MethodNotAllowed
from gateway.identity import Credential, Identity
from gateway.limits import Allowance
from gateway.wire.asgi import Headers, Scope, Send, direct_of
from gateway.wire.record import RequestRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A path bound to a backend, compiled from the settings.

    Attributes:
        path: Raw; with ``prefix`` everything below it belongs here, and the rest of the path goes on to the backend.
        methods: Accepted; POST alone for ChatKit.
        signer: Checks signed URLs; None where the credential is a token.
        issuers: The `iss` values whose users may come here.
        access: What every user must have; ``operation_access`` what some operations ask for besides.
        allowance: What one user may have here.
        operations: The ChatKit operations it takes.
        audience: How the backend calls itself in assertions.
        forward_token: Send the user's own token on.
        forwarded, forwarded_varying: Names of client headers that go on, lower case; those in `VARYING` apart.
        body_timeout, total_timeout: Seconds, for the request's body and for the whole answer.
        expiry_grace: Per issuer, the seconds a stream may outlive its token's ``exp``.
        max_depth: Levels of nesting of a ChatKit body.
        max_body, max_answer, max_metadata, max_event_tail: Bytes.
    """

    name: str
    kind: Literal["chatkit", "opaque"]
    path: bytes
    prefix: bool
    methods: tuple[str, ...]
    credential: CredentialRule
    signer: UrlSigner | None
    origins: OriginPolicy
    issuers: frozenset[str]
    access: AccessRule
    operation_access: Mapping[str, AccessRule]
    allowance: Allowance
    operations: frozenset[str]
    backend: BackendClient
    audience: str
    forward_token: bool
    forwarded: frozenset[bytes]
    forwarded_varying: frozenset[bytes]
    times: RelayTimes
    total_timeout: float
    expiry_grace: Mapping[str, float]
    body_timeout: float
    max_body: int
    max_answer: int
    max_metadata: int
    max_depth: int
    max_event_tail: int


@dataclass(slots=True, kw_only=True)
class Facts:
    """What the headers of a request say to a route: found out once, as far as a request comes, and true of every
    request with the same headers and method. Nothing in here says that a token is good.

    Attributes:
        answer_headers: Go on every answer.
        credential: Found, and no other site's.
        is_chatkit: The body is declared as what a ChatKit route takes.
        forwarded: The client's headers that go on, those that vary aside, as they go out.
        language: The user's.
    """

    method: str
    answer_headers: Headers
    credential: Credential | None = None
    is_chatkit: bool = False
    forwarded: bytes | None = None
    language: str | None = None


def enter_route(scope: Scope, record: RequestRecord, route: Route) -> Facts:
    """From here on every answer of this request, errors too, can be read by the route's allowed pages."""
    direct = direct_of(scope)
    facts: Facts | None = direct.memory.get(route) if direct is not None else None
    if facts is None or facts.method != scope["method"]:
        answer_headers = cors_headers(allowed_origin(scope["headers"], route.origins))
        facts = Facts(method=scope["method"], answer_headers=answer_headers)
        if direct is not None:
            direct.memory[route] = facts
    record.route = route.name
    record.answer_headers = facts.answer_headers
    return facts


async def answer_preflight(scope: Scope, record: RequestRecord, route: Route, send: Send) -> None:
    """Leave for an allowed page to send what it is about to send; anybody else gets a 403."""
    if allowed_origin(scope["headers"], route.origins) is None:
        raise CrossSiteRequest("preflight from an origin that is not listed")
    headers = [*preflight_headers(route.origins), *record.answer_headers]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def check_method(scope: Scope, route: Route) -> None:
    """Raises MethodNotAllowed for a method that the route does not take."""
    if scope["method"] not in route.methods:
        raise MethodNotAllowed(f"{scope['method']} on route {route.name!r}", allowed=[*route.methods, "OPTIONS"])


async def authenticate(
    scope: Scope, record: RequestRecord, route: Route, verifier: Verifier, facts: Facts
) -> tuple[Credential, Identity]:
    """Who calls this route, or an error of the 401, 403 or 503 kind."""
    if route.signer is not None:
        record.credential = "signed_url"
        identity = route.signer.read(scope["method"], scope["raw_path"], scope["query_string"], route.issuers)
        credential = Credential(token=b"", source="signed_url")
    else:
        credential = facts.credential or _find_credential(scope, record, route)
        facts.credential = credential
        record.credential = credential.source
        identity = verifier.recall(credential, route.issuers) or await verifier.verify(credential, route.issuers)
    record.note_identity(identity)
    check_access(identity, route.access)
    return credential, identity


def _find_credential(scope: Scope, record: RequestRecord, route: Route) -> Credential:
    headers = scope["headers"]
    credential = find_credential(headers, route.credential)
    record.credential = credential.source
    if credential.source == "cookie":
        check_cross_site(scope["method"], headers, route.origins)
    return credential
