"""Try what the settings name: signing keys, certificate, each issuer's keys and clock, each replica of each backend.

Rules: a backend is asked for its readiness, and then, without an assertion, for a list that changes nothing: one that
answers that to a stranger believes anybody. Nothing is sent that a user could have sent.
"""

import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from cryptography import x509

from gateway.backends.client import BackendClient, BackendRequest
from gateway.check.findings import Finding, fail, warn
from gateway.compile import build_backend, build_issuer, build_signing_keys
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.settings.model import BackendSettings, IssuerSettings
from gateway.wire.tls import Certificate

# A ChatKit operation that changes nothing and runs no model.
_HARMLESS: Final = b'{"type":"threads.list","params":{}}'

# Seconds. `Date` has whole seconds, and an answer takes a moment.
_DATE_ROUGHNESS: Final = 2.0

# Days. Authorities' tools renew at a third of a certificate's life; the shortest in common use has 90 days.
_RENEWAL: Final = 14

# Seconds that a backend's clock may be behind: what `agent_backend` forgives by default.
_BACKEND_LEEWAY: Final = 5.0

Clock = Callable[[], float]


async def try_all(settings: Settings, *, clock: Clock = time.time) -> AsyncIterator[Finding]:
    """Everything, in the settings' order; each as soon as it is known."""
    yield _try_signing_keys(settings)
    if settings.server.tls_certificate is not None:
        yield _try_certificate(settings.server.tls_certificate, settings.server.tls_key, clock())
    for name, issuer in settings.issuers.items():
        async for finding in _try_issuer(name, issuer, clock):
            yield finding
    for name, backend in settings.backends.items():
        is_chat = any(route.backend == name and route.kind == "chatkit" for route in settings.routes.values())
        for url in backend.replicas:
            async for finding in _try_backend(name, url, backend.at(url), clock, is_chat=is_chat):
                yield finding


def _try_signing_keys(settings: Settings) -> Finding:
    try:
        build_signing_keys(settings)
    except ValueError as exc:
        return fail("signing keys", str(exc))
    return Finding(what="signing keys")


def _try_certificate(chain: Path, key: Path | None, now: float) -> Finding:
    """Can the listener use it, and for how long?"""
    what = f"server.tls_certificate: {chain}"
    try:
        Certificate(chain, key)
        end = x509.load_pem_x509_certificates(chain.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError) as exc:
        return fail(what, str(exc))
    days = (end.timestamp() - now) / (24 * 3600)
    if days <= 0:
        return fail(
            what, f"ended on {end:%Y-%m-%d}: no browser connects; renew it (it is taken up while the gateway runs)"
        )
    if days < _RENEWAL:
        return warn(what, f"ends on {end:%Y-%m-%d}, in {days:.0f} day(s): is its renewal at work?")
    return Finding(what=what)


async def _try_issuer(name: str, table: IssuerSettings, clock: Clock) -> AsyncIterator[Finding]:
    answers: list[tuple[httpx.Headers, float]] = []

    async def note(answer: httpx.Response) -> None:
        answers.append((answer.headers, clock()))

    async with httpx.AsyncClient(event_hooks={"response": [note]}) as client:
        source = build_issuer(table, client).keys
        await source.refresh()
    failure = source.missing()
    if failure:
        yield fail(f"issuer {name}: keys", f"{failure}; check the address from this machine")
        return
    yield Finding(what=f"issuer {name}: keys")
    for reason in source.keys.skipped:
        yield warn(f"issuer {name}: keys", f"{reason}; tokens signed with it are refused")
    for headers, now in answers[-1:]:
        skew = read_skew(headers.get("date"), headers.get("age"), now)
        if skew is not None and abs(skew) > min(_DATE_ROUGHNESS + table.leeway, 60.0):
            yield fail(f"issuer {name}: clock", f"{_describe(skew)} than leeway ({table.leeway:g} s) forgives; {_NTP}")
        elif skew is not None and abs(skew) > _DATE_ROUGHNESS + table.leeway / 2:
            yield warn(f"issuer {name}: clock", f"{_describe(skew)} than half of leeway ({table.leeway:g} s); {_NTP}")


_NTP: Final = "set both by NTP (timedatectl shows this machine's)"


def read_skew(date: str | None, age: str | None, now: float) -> float | None:
    """How far this machine's clock is ahead of an answer's maker's, in seconds; None if the answer does not tell.

    What a cache kept for ``age`` seconds was dated when it was made. RFC 9110 section 6.6.1, RFC 9111 section 5.1.
    """
    if date is None or (age is not None and not age.isdigit()):
        return None
    try:
        return now - (parsedate_to_datetime(date).timestamp() + int(age or 0))
    except (ValueError, OverflowError):
        return None


def _describe(skew: float) -> str:
    return f"this machine's is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}, which is more"


async def _try_backend(
    name: str, url: str, table: BackendSettings, clock: Clock, *, is_chat: bool
) -> AsyncIterator[Finding]:
    what = f"backend {name}: {url}"
    try:
        client = build_backend(name, table)
    except OSError as exc:
        yield fail(what, f"ca_file {table.ca_file}: {exc}; it must hold certificates in PEM")
        return
    try:
        async for finding in _ask_backend(what, url, client, table, clock, is_chat=is_chat):
            yield finding
    except GatewayError as exc:
        yield fail(what, f"{exc}; is it started, and is {urlsplit(url).netloc} its address from here?")
    finally:
        client.close()


async def _ask_backend(
    what: str, url: str, client: BackendClient, table: BackendSettings, clock: Clock, *, is_chat: bool
) -> AsyncIterator[Finding]:
    ready = BackendRequest(method="GET", path=b"/readyz", headers=[], body=b"")
    async with client.exchange(ready) as answer:
        if not await answer.wait_for_head(table.connect_timeout):
            yield fail(what, f"connected, but no answer within {table.connect_timeout:.0f} s")
            return
        # Any answer but a 5xx shows that something listens there: not every backend has /readyz.
        if answer.status >= 500:
            yield fail(what, f"/readyz answered {answer.status}; look at the backend's log")
            return
        dates = [value.decode("latin-1") for name, value in answer.headers if name == b"date"]
        skew = read_skew(dates[0] if dates else None, None, clock())
    yield Finding(what=what)
    if skew is not None and abs(skew) > _DATE_ROUGHNESS + _BACKEND_LEEWAY:
        yield warn(
            f"{what}: clock",
            f"{_describe(skew)} than the {_BACKEND_LEEWAY:g} s that backends forgive in an assertion; {_NTP}",
        )
    if is_chat:
        yield await _ask_as_stranger(what, urlsplit(url).path or "/", client, table)


async def _ask_as_stranger(what: str, path: str, client: BackendClient, table: BackendSettings) -> Finding:
    """A ChatKit request without an assertion: whoever else reaches the backend could send it."""
    what = f"{what}: without an assertion"
    headers = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
    async with client.exchange(
        BackendRequest(method="POST", path=path.encode(), headers=headers, body=_HARMLESS)
    ) as answer:
        if not await answer.wait_for_head(table.first_byte_timeout):
            return fail(what, f"no answer within {table.first_byte_timeout:.0f} s; look at the backend's log")
        status = answer.status
    if status in (401, 403):
        return Finding(what=f"{what}, refused with {status}")
    if status < 300:
        return fail(
            what,
            f"answered {status}: whoever reaches it may say who they are; let it verify x-gateway-assertion "
            "(agent_backend.trust, or the JWKS at /.well-known/jwks.json), and bind it where only the gateway comes",
        )
    if status in (404, 405):
        return fail(what, f"answered {status}: no ChatKit server is at {path}; set the path in the backend's url")
    if status >= 500:
        return fail(what, f"answered {status}; look at the backend's log")
    return warn(what, f"answered {status}, expected 401: does it look at the request before it asks who sent it?")
