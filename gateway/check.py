"""Would these settings work? Tries what they name: each issuer's keys, each backend's readiness.

Prints a line for each thing tried, with the fix where it failed. Also shows the effective settings.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import httpx

from gateway.backends.client import BackendRequest
from gateway.compile import build_backend, build_issuer, build_signing_keys
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.settings.model import BackendSettings, IssuerSettings


def check(settings: Settings) -> int:
    """Try everything; returns 0 if all of it worked, else 1."""
    failures = asyncio.run(_try_all(settings))
    if failures:
        print(f"gateway: {failures} of the things above do not work", file=sys.stderr)
        return 1
    print(
        f"gateway: settings are good: {len(settings.routes)} route(s), {len(settings.backends)} backend(s), "
        f"{len(settings.issuers)} issuer(s)"
    )
    return 0


def show(settings: Settings) -> str:
    """The effective settings as TOML that loads again as the same. Secrets are masked by their type."""
    lines = []
    for section, table in settings.model_dump(mode="json").items():
        groups = table.items() if section in ("issuers", "backends", "routes") else [(None, table)]
        for name, values in groups:
            lines += ["", f"[{section}.{name}]" if name else f"[{section}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines).strip()


async def _try_all(settings: Settings) -> int:
    failures = 0
    async for what, failure in _attempts(settings):
        print(f"{'ok  ' if failure is None else 'FAIL'}  {what}{f': {failure}' if failure else ''}")
        failures += failure is not None
    return failures


async def _attempts(settings: Settings) -> AsyncIterator[tuple[str, str | None]]:
    yield "signing keys", _try_signing_keys(settings)
    async with httpx.AsyncClient() as client:
        for name, issuer in settings.issuers.items():
            yield f"issuer {name}: keys", await _try_issuer(issuer, client)
    for name, backend in settings.backends.items():
        yield f"backend {name}: {backend.url}", await _try_backend(name, backend)


def _try_signing_keys(settings: Settings) -> str | None:
    try:
        build_signing_keys(settings)
    except ValueError as exc:
        return str(exc)
    return None


async def _try_issuer(table: IssuerSettings, client: httpx.AsyncClient) -> str | None:
    source = build_issuer(table, client).keys
    await source.refresh()
    failure = source.missing()
    return f"{failure}; check the address from this machine" if failure else None


async def _try_backend(name: str, table: BackendSettings) -> str | None:
    """Ask the backend's `/readyz`; any answer but a 5xx shows that something listens there."""
    try:
        client = build_backend(name, table)
    except OSError as exc:
        return f"ca_file {table.ca_file}: {exc}; it must hold certificates in PEM"
    try:
        request = BackendRequest(method="GET", path=b"/readyz", headers=[], body=b"")
        async with client.exchange(request) as answer:
            if not await answer.wait_for_head(table.connect_timeout):
                return f"connected, but no answer within {table.connect_timeout:.0f} s"
            if answer.status >= 500:
                return f"/readyz answered {answer.status}; look at the backend's log"
    except GatewayError as exc:
        return f"{exc}; is it started, and is {urlsplit(table.url).netloc} its address from here?"
    finally:
        client.close()
    return None


def _toml(value: object) -> str:
    """A value as TOML 1.0 writes it; tables inline, what is None left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}"
    # A JSON string is a basic string of TOML, but for one character that only TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
