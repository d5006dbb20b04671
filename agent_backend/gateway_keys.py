"""The gateway's public keys: fetched, kept, refreshed.

Rules: one fetch at a time; a key we have is never waited for, a refresh of it runs beside; an unknown `kid` makes us
fetch at most once per cooldown; the last good set outlives failed fetches for a bounded time. Only EC P-256 keys for
signatures are taken. Knows nothing of tokens or requests.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from agent_backend.problems import AssertionRefused, KeysUnavailable

# Seconds. How long a set is used without asking again; a rotation publishes its next key long before.
REFRESH_AFTER = 300.0
# Seconds. How long a set is believed while the gateway does not answer: a restart, not a day.
KEEP_FOR = 3600.0
# Seconds between two fetches, whatever tokens arrive; shorter while we have no key at all and can serve nobody.
COOLDOWN = 10.0
COOLDOWN_WITHOUT_KEYS = 1.0
# Bytes. Two P-256 keys are 500.
MAX_JWKS = 65_536

Jwk = Mapping[str, Any]
logger = logging.getLogger(__name__)


class GatewayKeys:
    """The keys published at one URL, by `kid`."""

    def __init__(self, *, url: str, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._http = http
        self._clock = clock
        self._keys: dict[str, Jwk] = {}
        self._fetched_at = -KEEP_FOR
        self._tried_at = -COOLDOWN
        self._flight: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<GatewayKeys {self.url} {sorted(self._keys)}>"

    async def find(self, kid: str) -> Jwk:
        """The key of that name. `KeysUnavailable` when we have none at all, `AssertionRefused` when it is unknown."""
        if kid not in self._current():
            await self._fetch_once()
        elif self._clock() - self._fetched_at > REFRESH_AFTER:
            self._start_fetch()
        keys = self._current()
        if not keys:
            raise KeysUnavailable(f"no keys from {self.url}")
        if kid not in keys:
            raise AssertionRefused("assertion_unknown_key", f"kid {kid!r}, known: {sorted(keys)}")
        return keys[kid]

    async def warm_up(self) -> bool:
        """Have keys, fetching if need be. False when there are none to be had."""
        if not self._current():
            await self._fetch_once()
        return bool(self._current())

    async def aclose(self) -> None:
        """Stop a fetch under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _current(self) -> dict[str, Jwk]:
        return self._keys if self._clock() - self._fetched_at <= KEEP_FOR else {}

    async def _fetch_once(self) -> None:
        """Join the fetch under way, or start one unless one was tried just now."""
        flight = self._start_fetch()
        if flight is not None:
            # Shielded: one caller who leaves does not take the fetch away from the others.
            await asyncio.shield(flight)

    def _start_fetch(self) -> asyncio.Task[None] | None:
        if self._flight is not None and not self._flight.done():
            return self._flight
        cooldown = COOLDOWN if self._current() else COOLDOWN_WITHOUT_KEYS
        if self._clock() - self._tried_at < cooldown:
            return None
        self._tried_at = self._clock()
        self._flight = asyncio.create_task(self._fetch())
        return self._flight

    async def _fetch(self) -> None:
        """Replace the set; keep the old one when the new one cannot be had."""
        try:
            response = await self._http.get(self.url)
            response.raise_for_status()
            if len(response.content) > MAX_JWKS:
                raise ValueError(f"{len(response.content)} bytes")
            keys = usable_keys(response.json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            logger.warning("keys of the gateway not fetched", extra={"url": self.url, "error": repr(exc)})
            return
        self._keys, self._fetched_at = keys, self._clock()


def usable_keys(document: object) -> dict[str, Jwk]:
    """The P-256 signature keys of a JWKS, by `kid`. RFC 7517 section 5: others are ignored, not refused."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("no JWKS")
    return {key["kid"]: key for key in listed if isinstance(key, Mapping) and is_usable(key)}


def is_usable(key: Jwk) -> bool:
    return (
        isinstance(key.get("kid"), str)
        and (key.get("kty"), key.get("crv")) == ("EC", "P-256")
        and key.get("alg", "ES256") == "ES256"
        and key.get("use", "sig") == "sig"
        and "verify" in key.get("key_ops", ["verify"])
        and "d" not in key
    )
