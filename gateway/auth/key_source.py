"""Which key signed this token, right now? One issuer's keys: kept, refreshed ahead, looked up again when unknown.

Rules: one fetch at a time; the last good set outlives failed fetches up to a bound; no token can make us fetch more
than once per cooldown; an unknown key fails closed. Knows nothing of tokens beyond `kid` and `alg`, nor where the
document comes from.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.key_fetch import FetchKeys
from gateway.auth.keys import KeySet, VerificationKey, parse_jwks
from gateway.errors import KeysUnavailable, TokenInvalid

logger = logging.getLogger("gateway.keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """How long keys are believed. All in seconds.

    Attributes:
        refresh: Fetch this often when the issuer gives no `max-age`.
        refresh_min: Never more often, whatever `max-age` says.
        refresh_max: Never less often, whatever `max-age` says.
        keep: Without a successful fetch for this long the last good keys are no longer believed.
        cooldown: At most one fetch per this long on behalf of unknown keys, or after a failure.
    """

    refresh: float = 300.0
    refresh_min: float = 60.0
    refresh_max: float = 3600.0
    keep: float = 24 * 3600.0
    cooldown: float = 10.0


class KeySource:
    """The keys of one issuer.

    Args:
        issuer: Its name in messages.
        fetch: Gets the document; raises KeysUnavailable.
        algorithms: What the settings allow.
        times: How long keys are believed.
        clock: Monotonic seconds.

    Attributes:
        refresh_in: Seconds from one successful fetch to the next.
        fetches: How many there were, ``taken`` and ``failed``.
    """

    def __init__(
        self,
        *,
        issuer: str,
        fetch: FetchKeys,
        algorithms: tuple[str, ...],
        times: KeyTimes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._algorithms = algorithms
        self._times = times
        self._clock = clock
        self._keys: KeySet | None = None
        self._document = b""
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self.refresh_in = times.refresh
        self.fetches: Counter[str] = Counter()
        self._failure: KeysUnavailable | None = None
        self._flight: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        count = len(self._keys.keys) if self._keys else 0
        return f"<KeySource {self.issuer} {count} keys>"

    @property
    def keys(self) -> KeySet:
        """The keys believed right now. Its identity changes when, and only when, the issuer's document changes.

        Raises:
            KeysUnavailable: None was ever fetched, or the last success lies too far back.
        """
        if self._keys is None:
            # A new one each time: raised again and again, the same exception would collect every caller's frames.
            raise KeysUnavailable(f"issuer {self.issuer!r}: no keys fetched yet; {self._failure}") from self._failure
        age = self._clock() - self._fetched_at
        if age > self._times.keep:
            raise KeysUnavailable(f"issuer {self.issuer!r}: last good keys are {age:.0f} s old; {self._failure}")
        return self._keys

    @property
    def age(self) -> float | None:
        """Seconds since the last good fetch; None before the first."""
        return None if self._keys is None else self._clock() - self._fetched_at

    def missing(self) -> KeysUnavailable | None:
        """Why nobody of this issuer can be verified right now, or None."""
        try:
            _ = self.keys
        except KeysUnavailable as exc:
            return exc
        return None

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        """The key for a token's header; asks the issuer again for a key it does not know, under the cooldown.

        Raises:
            TokenInvalid: The issuer has no such key.
            KeysUnavailable: The issuer cannot be asked, so we cannot tell.
        """
        key = self._keys and self.keys.select(kid, algorithm)
        if key:
            return key
        if self._flight is not None or self._clock() - self._tried_at >= self._times.cooldown:
            await self.refresh()
            key = self.keys.select(kid, algorithm)
        if key:
            return key
        if self._failure is not None:
            raise KeysUnavailable(f"kid {kid!r} is unknown and the last fetch failed: {self._failure}")
        raise TokenInvalid(f"issuer {self.issuer!r} has no {algorithm} key with kid {kid!r}", about="kid")

    async def refresh(self) -> None:
        """Fetch now, or join the fetch under way. A failure is remembered and logged, not raised."""
        if self._flight is None:
            self._tried_at = self._clock()
            self._flight = asyncio.create_task(self._refresh())
        # Shielded: one client that leaves must not cancel the fetch for the others.
        await asyncio.shield(self._flight)

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.refresh_in if self._failure is None else self._times.cooldown)

    async def _refresh(self) -> None:
        try:
            document = await self._fetch()
            self._take(document.content, document.max_age)
        except KeysUnavailable as exc:
            self._fail(exc)
        except ValueError as exc:
            self._fail(KeysUnavailable(f"issuer {self.issuer!r}: {exc}"))
        except Exception as exc:  # whatever else a client library raises: `run` must outlive it, or the keys end
            logger.exception("keys not fetched")
            self._fail(KeysUnavailable(f"issuer {self.issuer!r}: {type(exc).__name__}: {exc}"))
        finally:
            self._flight = None

    def _take(self, content: bytes, max_age: float | None) -> None:
        """Believe a document from now on. A failed parse leaves everything as it was."""
        if self._keys is None or content != self._document:
            keys = parse_jwks(content, self._algorithms)
            for reason in keys.skipped:
                logger.warning("key skipped", extra={"fields": {"issuer": self.issuer, "reason": reason}})
            self._keys, self._document = keys, content
            kids = [key.kid for key in keys.keys]
            logger.info("keys changed", extra={"fields": {"issuer": self.issuer, "kids": kids}})
        times = self._times
        wanted = times.refresh if max_age is None else max_age
        # Ahead of expiry: at nine tenths of what the issuer allows, so that a slow fetch still comes in time. Ahead of
        # `keep` too, whatever else is set: keys must not run out while the issuer is well.
        self.refresh_in = min(max(wanted * 0.9, times.refresh_min), times.refresh_max, times.keep * 0.9)
        self._fetched_at = self._clock()
        self._failure = None
        self.fetches["taken"] += 1

    def _fail(self, failure: KeysUnavailable) -> None:
        self._failure = failure
        self.fetches["failed"] += 1
        logger.warning("keys not fetched", extra={"fields": {"issuer": self.issuer, "reason": str(failure)}})
