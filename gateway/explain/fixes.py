"""From a refusal to the one sentence of what to change, with the names of this gateway's settings in it.

Rules: a sentence names the setting or the place, and both sides where either may be at fault; of claims it tells names,
never values. By the error's code, and for tokens by what of them is wrong. Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.auth.access import AccessRule, check_access
from gateway.auth.claim_map import ClaimMap, build_identity
from gateway.errors import AccessDenied, Flaw, GatewayError, TokenInvalid
from gateway.explain.captures import Given
from gateway.explain.walk import Findings
from gateway.settings import Settings

# Where issuers put scopes and roles: RFC 9068 and RFC 8693, Entra ID, Okta, Auth0, Keycloak, Cognito, Zitadel.
_SCOPE_CLAIMS: Final = ("scope", "scp", "scopes", "permissions")
_ROLE_CLAIMS: Final = ("roles", "groups", "realm_access.roles", "permissions", "cognito:groups", "role")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a sentence can be made from."""

    given: Given
    found: Findings
    settings: Settings

    @property
    def route(self) -> str:
        """The setting's beginning: ``routes.NAME``."""
        return f"routes.{self.found.route.name}" if self.found.route else "routes.NAME"

    @property
    def issuer(self) -> str:
        """The setting's beginning: ``issuers.NAME``."""
        seen = self.found.seen.issuer
        named = seen.rules.issuer if seen else None
        names = [name for name, table in self.settings.issuers.items() if table.issuer == named]
        return f"issuers.{names[0] if names else 'NAME'}"

    @property
    def claims(self) -> Mapping[str, Any]:
        return self.found.seen.parsed.claims if self.found.seen.parsed else {}


def find_fix(error: GatewayError, known: Known) -> str:
    """What to change so that this request is not refused, or where to look."""
    if isinstance(error, TokenInvalid):
        return FLAWS[error.about](known)
    return FIXES[error.code](known)


# the way in


def _fix_path(known: Known) -> str:
    paths = ", ".join(f"{table.path} ({name})" for name, table in known.settings.routes.items())
    return f"Send it to the path of a route: {paths}; or let the proxy in front leave paths as they are."


def _fix_malformed_path(known: Known) -> str:
    return (
        "Send the path without dot segments, double slashes, ';' or needless %-encoding: look at what the page, or a "
        "proxy that rewrites paths, makes of it."
    )


def _fix_method(known: Known) -> str:
    methods = known.found.route.methods if known.found.route else ("GET", "HEAD")
    return (
        f"Send {' or '.join(methods)}; a POST that became a GET was redirected on its way (http to https, a slash "
        "more or less): call the final URL."
    )


def _fix_wire(known: Known) -> str:
    return (
        "Send HTTP/1.1 as RFC 9112 has it: one Host, one statement of the body's length, no space before a colon; what "
        "stands between client and gateway may have made this of it."
    )


def _fix_head_size(known: Known) -> str:
    size = sum(len(name) + len(value) + 4 for name, value in known.given.headers) + len(known.given.target)
    server = known.settings.server
    return (
        f"Make cookies smaller or fewer, or raise server.max_head (now {server.max_head}, this request has some {size} "
        f"bytes) or server.max_headers (now {server.max_headers}, it has {len(known.given.headers)})."
    )


# the credential


def _fix_missing(known: Known) -> str:
    headers = [(name.lower(), value) for name, value in known.given.headers]
    rule = known.found.route.credential if known.found.route else None
    if rule is None or known.found.route is None or known.found.route.signer is not None:
        return "Use the URL as the backend signed it, with its signature in the query."
    names = sorted({name for header, value in headers if header == b"cookie" for name in _cookie_names(value)})
    schemes = [value.partition(b" ")[0].decode("latin-1") for name, value in headers if name == b"authorization"]
    if schemes and schemes[0].lower() == "bearer":
        return f"Set {known.route}.bearer = true if programs may bring the token in Authorization here."
    if rule.cookie is None:
        scheme = f", not {schemes[0]!r:.20}" if schemes else ""
        return (
            f"Send Authorization: Bearer with the token{scheme}, or set {known.route}.cookie to the name of the "
            "login's cookie."
        )
    cookie = rule.cookie.decode()
    if names:
        return (
            f"Set {known.route}.cookie to the cookie in which the login keeps its token (this request has "
            f"{', '.join(names)[:200]}), or let the login name it {cookie!r}."
        )
    if known.given.form == "HAR":
        return 'The HAR holds no cookie: export it again "with sensitive data", or else look at why none was sent.'
    return (
        f'Have the browser send the cookie {cookie!r}: the page\'s fetch needs credentials: "include" on another '
        "origin, and the cookie a Domain and Path that cover the gateway, and a SameSite that lets it out "
        "(gateway check --set-cookie-file judges it)."
    )


def _cookie_names(header: bytes) -> Iterable[str]:
    return (pair.partition(b"=")[0].strip().decode("latin-1") for pair in header.split(b";") if b"=" in pair)


def _fix_ambiguous(known: Known) -> str:
    return (
        "Clear the site's cookies and sign in again; if it comes back, two places set the cookie (another Domain or "
        "Path): let one do it and, where page and gateway share a host, call it __Host-…."
    )


def _fix_encrypted(known: Known) -> str:
    return (
        "Let the login library keep the signed access or ID token (three parts) in a cookie of its own, and set "
        f"{known.route}.cookie to that: this one is encrypted, and only the library can read it."
    )


def _fix_cross_site(known: Known) -> str:
    origins = [value.decode("latin-1") for name, value in known.given.headers if name.lower() == b"origin"]
    if len(origins) == 1:
        listed = sorted(origin.decode() for origin in known.found.route.origins.allowed) if known.found.route else []
        return (
            f"If {origins[0]!r:.200} is your page, add it to {known.route}.allowed_origins (which, with "
            f"server.public_url, now come to {', '.join(listed)}); if it is not, the refusal is right."
        )
    return (
        "A browser says which page asks (Origin): find out what on the way removes it; a program should send its token "
        "as Authorization: Bearer instead of a cookie."
    )


# the token


def _fix_form(known: Known) -> str:
    return (
        f"Put the token itself, as the issuer made it (three parts of base64url, no quotes, no encoding around it), "
        f"{_where(known)}."
    )


def _fix_size(known: Known) -> str:
    return f"Let the issuer put less into the token (groups, most often), or raise {known.route}.max_token."


def _fix_parts(known: Known) -> str:
    return (
        "Clear the site's cookies and sign in again: the cookie came in parts that do not belong together; a login "
        "that writes a shorter token must delete the parts left over."
    )


def _fix_iss(known: Known) -> str:
    named = known.claims.get("iss")
    for name, table in known.settings.issuers.items():
        if isinstance(named, str) and named.rstrip("/") == table.issuer.rstrip("/"):
            return f"Write issuers.{name}.issuer to the letter as the token's iss has it: they differ by a slash."
    return (
        "If this issuer's users may chat, give it an [issuers] table with exactly this iss; if not, the page used the "
        "token of another login or environment."
    )


def _fix_route(known: Known) -> str:
    return f"Add the issuer's name to {known.route}.issuers if its users may use this route."


def _fix_algorithm(known: Known) -> str:
    return (
        f"Add the token's alg to {known.issuer}.algorithms if the issuer really signs with it; none and HS… are no "
        "signatures that can be checked with a published key, and cannot be allowed."
    )


def _fix_critical(known: Known) -> str:
    return (
        "Have the issuer make plain access or ID tokens: this one demands an extension (crit, b64) nobody here reads."
    )


def _fix_type(known: Known) -> str:
    return f"Put the access or ID token {_where(known)}: the typ says that this token is of another kind."


def _fix_kid(known: Known) -> str:
    keys = known.found.seen.issuer.keys if known.found.seen.issuer else None
    skipped = keys.keys.skipped if keys is not None and keys.missing() is None else ()
    reasons = f"; left out of its JWKS were: {'; '.join(skipped)[:400]}" if skipped else ""
    return (
        f"Let {known.issuer} point to the keys of the environment that made this token, or sign in again if the issuer "
        f"has just changed its keys{reasons}."
    )


def _fix_signature(known: Known) -> str:
    return (
        f"Get a fresh token: this one was changed on its way, or made by another environment that names its keys like "
        f"{known.issuer} does."
    )


def _fix_audience(known: Known) -> str:
    return (
        f"If tokens with this aud are made for this chat, add it to {known.issuer}.audiences; if not, let the login "
        "ask the issuer for a token whose aud is listed there."
    )


def _fix_expiry_claim(known: Known) -> str:
    return "Have the issuer put an exp into its tokens, in seconds since 1970: a token without end is not accepted."


def _fix_clock(known: Known) -> str:
    return (
        f"Set the clocks of this machine and of the issuer by NTP; {known.issuer}.leeway forgives up to 60 s between "
        "them."
    )


def _fix_owner(known: Known) -> str:
    return (
        f"Name the claim that tells users apart in {known.issuer}.claims.subject (and .tenant, if it is set), or have "
        "the issuer put it into the token."
    )


def _fix_signed_url(known: Known) -> str:
    return (
        "Use the URL as it was signed, for the path and method it was signed for, by a backend that has the keys of "
        "[signed_urls] and stays within its max_minutes."
    )


def _fix_expired(known: Known) -> str:
    if known.found.route is not None and known.found.route.signer is not None:
        return "Ask the backend for a fresh URL; it signs them for some minutes."
    return (
        "Sign in again; if it happens to people who are signed in, let the login renew the token in the cookie before "
        "its exp, and compare this machine's clock with the issuer's."
    )


def _fix_keys(known: Known) -> str:
    return (
        f"Make the address of {known.issuer}'s keys reachable from here (gateway check tries it), or name a file with "
        "them: --jwks NAME=FILE."
    )


# permission


def _fix_access(known: Known) -> str:
    error, rule = known.found.failure, known.found.rule
    named = error.rule if isinstance(error, AccessDenied) else known.route
    if rule is not None:
        for setting, claim in _claims_that_would_do(known, rule):
            return f"Set {known.issuer}.claims.{setting} = {claim!r}: that is where this issuer puts it."
    return f"Give the user at the issuer what is asked for, or ask for less in {named}; then sign in again."


def _claims_that_would_do(known: Known, rule: AccessRule) -> Iterable[tuple[str, str]]:
    """The mapping of claims to which the rule would say yes: one setting, and the claim it should name."""
    issuer = known.found.seen.issuer
    if issuer is None:
        return
    mapped = issuer.rules.claim_map
    for claim in _SCOPE_CLAIMS:
        if _holds(known, rule, replace(mapped, scopes=claim), issuer.rules.issuer):
            yield "scopes", claim
    for claim in _ROLE_CLAIMS:
        if _holds(known, rule, replace(mapped, roles=claim), issuer.rules.issuer):
            yield "roles", claim


def _holds(known: Known, rule: AccessRule, names: ClaimMap, issuer: str) -> bool:
    try:
        check_access(build_identity(known.claims, issuer, names), rule)
    except GatewayError:
        return False
    return True


def _fix_operation(known: Known) -> str:
    return f"Add the operation to {known.route}.operations if pages may use it there."


# the body


def _fix_media_type(known: Known) -> str:
    return "Send the body as content-type: application/json, in UTF-8 and not compressed, as ChatKit does."


def _fix_body(known: Known) -> str:
    return (
        'Send what ChatKit sends: one JSON object {"type", "params", "metadata"?}; if the page\'s own fetch rewrites '
        f"the body, look there; {known.route}.max_depth bounds its nesting."
    )


def _fix_body_size(known: Known) -> str:
    return (
        f"Send less (of page context, most often), or raise {known.route}.max_body for the body or .max_metadata for "
        "the client's metadata in it."
    )


def _fix_broken_off(known: Known) -> str:
    return "Give the whole request: the body that its headers announce does not end as it should."


def _where(known: Known) -> str:
    credential, route = known.found.credential, known.found.route
    cookie = route.credential.cookie if route is not None else None
    source = credential.source if credential is not None else known.given.form
    if source in ("bearer", "token") or cookie is None:
        return "behind Authorization: Bearer"
    return f"into the cookie {cookie.decode()!r}"


Fix = Callable[[Known], str]

# By code; what else can go wrong in service, goes wrong behind the request path that is walked here.
FIXES: Final[Mapping[str, Fix]] = {
    "route_not_found": _fix_path,
    "malformed_path": _fix_malformed_path,
    "method_not_allowed": _fix_method,
    "malformed_request": _fix_wire,
    "headers_too_large": _fix_head_size,
    "credential_missing": _fix_missing,
    "credential_ambiguous": _fix_ambiguous,
    "credential_encrypted": _fix_encrypted,
    "cross_site_request": _fix_cross_site,
    "token_expired": _fix_expired,
    "keys_unavailable": _fix_keys,
    "access_denied": _fix_access,
    "operation_forbidden": _fix_operation,
    "unsupported_media_type": _fix_media_type,
    "malformed_body": _fix_body,
    "body_too_large": _fix_body_size,
    "client_disconnected": _fix_broken_off,
    "request_timeout": _fix_broken_off,
}

FLAWS: Final[Mapping[Flaw, Fix]] = {
    "form": _fix_form,
    "size": _fix_size,
    "parts": _fix_parts,
    "iss": _fix_iss,
    "route": _fix_route,
    "alg": _fix_algorithm,
    "crit": _fix_critical,
    "typ": _fix_type,
    "kid": _fix_kid,
    "signature": _fix_signature,
    "aud": _fix_audience,
    "exp": _fix_expiry_claim,
    "clock": _fix_clock,
    "owner": _fix_owner,
    "url": _fix_signed_url,
}
