"""Get an issuer's JWKS document: from a URL, through OpenID discovery, or from a file.

Rules: no redirect is followed, size and time are bounded, anything but a 200 is a failure; whatever goes wrong is one
`KeysUnavailable` that names the address. Knows nothing of keys inside the document, and never retries.

Sources: RFC 7517 section 5, OpenID Connect Discovery 1.0 section 4, RFC 9111 section 5.2.2.1 (max-age).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from gateway import strict_json
from gateway.errors import KeysUnavailable

# Bytes. A JWKS with certificate chains stays under 50 KB; more is not a JWKS.
MAX_DOCUMENT: Final = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDocument:
    """A JWKS document and how long its publisher lets it be kept (seconds), if it says so."""

    content: bytes
    max_age: float | None


# A compressed document is small until it is read: a kilobyte may become a megabyte before the bound is checked.
_PLAIN: Final = {"accept-encoding": "identity"}

FetchKeys = Callable[[], Awaitable[KeyDocument]]


def build_url_fetch(client: httpx.AsyncClient, url: str, *, timeout: float) -> FetchKeys:
    """Fetch from ``url``; ``timeout`` (seconds) bounds the whole exchange."""

    async def fetch() -> KeyDocument:
        return await _get(client, url, timeout)

    return fetch


def build_discovery_fetch(client: httpx.AsyncClient, url: str, issuer: str, *, timeout: float) -> FetchKeys:
    """Fetch the provider's metadata from ``url``, then the JWKS that it names.

    The metadata must name exactly ``issuer``: otherwise another issuer's keys would vouch for this one's users.
    """

    async def fetch() -> KeyDocument:
        jwks_url = _read_metadata(url, (await _get(client, url, timeout)).content, issuer)
        return await _get(client, jwks_url, timeout)

    return fetch


def build_file_fetch(path: Path) -> FetchKeys:
    """Read from a file, again at each refresh: replacing the file rotates the keys."""

    async def fetch() -> KeyDocument:
        try:
            content = await asyncio.to_thread(_read_start, path)
        except OSError as exc:
            raise KeysUnavailable(f"{path}: {exc.strerror}") from exc
        if len(content) > MAX_DOCUMENT:
            raise KeysUnavailable(f"{path}: more than {MAX_DOCUMENT} bytes, that is no JWKS")
        return KeyDocument(content=content, max_age=None)

    return fetch


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT + 1)


async def _get(client: httpx.AsyncClient, url: str, timeout: float) -> KeyDocument:
    try:
        async with (
            asyncio.timeout(timeout),
            client.stream("GET", url, headers=_PLAIN, follow_redirects=False) as answer,
        ):
            if answer.status_code != 200:
                hint = f" to {answer.headers['location']!r:.200}" if answer.has_redirect_location else ""
                raise KeysUnavailable(f"{url}: answered {answer.status_code}{hint}, expected 200")
            coding = answer.headers.get("content-encoding", "identity")
            if coding.lower() != "identity":
                raise KeysUnavailable(f"{url}: answered with content-encoding {coding!r:.40}, asked for none")
            content = bytearray()
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > MAX_DOCUMENT:
                    raise KeysUnavailable(f"{url}: more than {MAX_DOCUMENT} bytes, that is no JWKS")
            return KeyDocument(content=bytes(content), max_age=read_max_age(answer.headers.get("cache-control", "")))
    except TimeoutError as exc:
        raise KeysUnavailable(f"{url}: no complete answer within {timeout:.0f} s") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise KeysUnavailable(f"{url}: {type(exc).__name__}: {exc}") from exc


def read_max_age(cache_control: str) -> float | None:
    """The `max-age` of a Cache-Control header in seconds, or None."""
    match = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})(?!\d)", cache_control.lower())
    return float(match[1]) if match else None


def _read_metadata(url: str, content: bytes, issuer: str) -> str:
    try:
        metadata = strict_json.parse(content)
    except ValueError as exc:
        raise KeysUnavailable(f"{url}: no discovery document: {exc}") from exc
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer:
        named = metadata.get("issuer") if isinstance(metadata, dict) else None
        raise KeysUnavailable(f"{url}: names issuer {named!r:.200}, expected {issuer!r}")
    jwks_url = metadata.get("jwks_uri")
    if not isinstance(jwks_url, str) or not jwks_url.startswith(("https://", "http://")):
        raise KeysUnavailable(f"{url}: has no usable jwks_uri")
    if url.startswith("https://") and not jwks_url.startswith("https://"):
        raise KeysUnavailable(f"{url}: its jwks_uri {jwks_url!r:.200} leaves https")
    return jwks_url
