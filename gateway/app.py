"""The composition root: settings in, ASGI app out; and new settings in while it runs.

It reads as a list; nothing is decided here. Which parts a new version takes over is `runtime`'s matter.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence, Set
from functools import partial

import httpx
from starlette.routing import BaseRoute, Router

from gateway.auth.key_source import KeySource
from gateway.backends.client import BackendClient
from gateway.chatkit.frames import HEARTBEAT, error_frame_for
from gateway.errors import Draining, GatewayError
from gateway.limits import Limiter
from gateway.metrics import gauges
from gateway.metrics.counters import Counters
from gateway.metrics.reading import Reading
from gateway.runtime import Runtime, Surroundings, build_runtime
from gateway.settings import Settings
from gateway.tracing import build_spans
from gateway.trust.signing_keys import SigningKey
from gateway.wire.access_log import AccessLog, peer_of
from gateway.wire.asgi import App, Receive, Scope, Send
from gateway.wire.forwarded import find_client
from gateway.wire.record import RequestRecord
from gateway.wire.rescue import Rescue
from gateway.wire.trace import find_trace

logger = logging.getLogger("gateway.app")

# Seconds that start-up waits for the first keys: ready under a second with keys reachable, and up in any case.
FIRST_KEYS_TIMEOUT = 1.0

# Seconds that a reload waits for the keys of an issuer that it brings: nobody waits for it, and it can be refused.
NEW_KEYS_TIMEOUT = 10.0

# Seconds for streams to write their last event before requests that have none are ended.
LAST_WORDS = 0.1


class Gateway:
    """The ASGI app, and what the server must be able to tell it.

    Args:
        extra_routes: Come before the routes to backends.
        signing_keys: Shared with sibling processes where the settings name no file; default: made here.
        sibling_reasons: Why a sibling process is not ready.
        inherited: What a process whose place this one takes has counted.

    Attributes:
        on_stopped: Told when the last request is over.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        extra_routes: Sequence[BaseRoute] = (),
        signing_keys: Sequence[SigningKey] | None = None,
        sibling_reasons: Callable[[], Sequence[str]] = tuple,
        inherited: Reading | None = None,
    ) -> None:
        self.on_stopped: Callable[[], None] = lambda: None
        self._counters = Counters()
        self._inherited = inherited or Reading()
        self._is_reloaded = True
        self._client = httpx.AsyncClient(headers={"accept": "application/json"})
        self._limiter = Limiter(max_streams=settings.server.max_streams)
        self._is_draining = False
        self._sibling_reasons = sibling_reasons
        self._around = Surroundings(
            client=self._client,
            limiter=self._limiter,
            reasons=self._all_reasons,
            extra_routes=extra_routes,
            verifications=self._counters.verifications,
        )
        self._shared_keys = signing_keys
        self.runtime = build_runtime(settings, self._around, signing_keys=self._shared_of(settings))
        # Of earlier versions, as long as somebody's stream comes from them.
        self._retired: list[BackendClient] = []
        self._refreshing: dict[KeySource, asyncio.Task[None]] = {}
        self._reload = asyncio.Lock()
        self._rescue = Rescue(self._enter, stream_error=error_frame_for)
        tracing = settings.tracing
        self._spans = build_spans(tracing.endpoint) if tracing.endpoint is not None else None
        self._log = AccessLog(
            self._rescue,
            quiet_paths=frozenset(QUIET_PATHS),
            find_client=lambda scope: find_client(peer_of(scope), scope["headers"], self.runtime.trusted_proxies),
            find_trace=partial(find_trace, has_spans=self._spans is not None, sample=tracing.sample),
            heartbeat=HEARTBEAT,
            on_end=self._counters.note if self._spans is None else self._note,
            sample_successes=settings.log.sample_successes,
            lull=self._around.lull,
        )
        # Starlette's own knows the lifespan protocol.
        self._lifespan_app: App = Router(lifespan=self._lifespan)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._log(scope, receive, send)

    def start_drain(self) -> None:
        """Not ready any more; requests are still served."""
        self._is_draining = True

    def end_streams(self) -> None:
        """Time is up: every stream gets its last event now, and whoever is still sending an answer."""
        for backend in (*self.runtime.backends.values(), *self._retired):
            backend.end_exchanges(Draining("the gateway is shutting down"))
        asyncio.get_running_loop().call_later(LAST_WORDS, self._rescue.end_all)

    async def reload(self, settings: Settings) -> None:
        """Serve by ``settings`` from the next request on; requests under way keep what they began with.

        Raises:
            ValueError, OSError: They cannot be used; everything is then as it was.
        """
        async with self._reload:
            last = self.runtime
            new = build_runtime(settings, self._around, last=last, signing_keys=self._shared_of(settings))
            brought = _sources(new) - _sources(last)
            self._keep_fresh(_sources(last) | brought)
            await _await_keys(brought, NEW_KEYS_TIMEOUT)
            missing = [str(failure) for source in brought if (failure := source.missing())]
            if missing:
                self._keep_fresh(_sources(last))
                raise ValueError("; ".join(missing))
            self.runtime = new
            # What has ended is sampled as it was when it did.
            self._log.settle()
            self._limiter.max_streams = settings.server.max_streams
            self._log.sample_successes = settings.log.sample_successes
            self._keep_fresh(_sources(new))
            self._retire(backend for backend in last.backends.values() if backend not in new.backends.values())

    def note_reload(self, *, taken: bool) -> None:
        """New settings were taken, or refused."""
        self._is_reloaded = taken
        self._counters.reloads["taken" if taken else "refused"] += 1

    def note_refusal(self, error: GatewayError) -> None:
        """The server refused what never became a request."""
        self._counters.note_refusal(error)

    def read_metrics(self) -> Reading:
        """All that is counted and all that can be seen, at this moment."""
        self._log.settle()
        reading = Reading(at=time.monotonic(), pid=os.getpid())
        reading.add_counts(self._inherited)
        reading.add("process_cpu_seconds_total", (), time.process_time())
        self._counters.write(reading)
        gauges.write_state(reading, is_ready=not self.reasons(), is_reloaded=self._is_reloaded)
        gauges.write_streams(reading, self._limiter)
        gauges.write_issuers(reading, self.runtime.verifier, self.runtime.issuers)
        gauges.write_backends(reading, self.runtime.backends.values())
        return reading

    def _note(self, record: RequestRecord, ended: float, ended_by: str) -> None:
        self._counters.note(record, ended, ended_by)
        if self._spans is not None:
            self._spans.note(record, ended, ended_by)

    def _shared_of(self, settings: Settings) -> Sequence[SigningKey] | None:
        """The siblings' common key, as long as no file names another."""
        return None if settings.trust.signing_keys else self._shared_keys

    def _enter(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """A path of a route goes straight to the proxy: no path of a route is also one of the gateway's own."""
        runtime = self.runtime
        if scope["type"] != "http":
            return self._lifespan_app(scope, receive, send)
        return (runtime.proxy if scope["path"] in runtime.paths else runtime.router)(scope, receive, send)

    def reasons(self) -> list[str]:
        """Why this process wants no new requests, leaving its siblings aside."""
        missing = [f"no keys of issuer {name}" for name in self.runtime.verifier.unavailable_issuers()]
        return [*missing, *(["draining"] if self._is_draining else [])]

    def _all_reasons(self) -> list[str]:
        return [*self.reasons(), *self._sibling_reasons()]

    def _keep_fresh(self, wanted: Set[KeySource]) -> None:
        """One task for the keys of each of these, and none for the others."""
        running = set(self._refreshing)
        for source in running - wanted:
            self._refreshing.pop(source).cancel()
        for source in wanted - running:
            self._refreshing[source] = asyncio.create_task(source.run())

    def _retire(self, backends: Iterable[BackendClient]) -> None:
        self._retired = [backend for backend in self._retired if any(pool.outstanding for pool in backend.pools())]
        for backend in backends:
            for pool in backend.pools():
                self._counters.ejections[pool.backend, pool.address] += pool.ejections
            backend.retire()
            self._retired.append(backend)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        self._keep_fresh(_sources(self.runtime))
        await _await_keys(_sources(self.runtime), FIRST_KEYS_TIMEOUT)
        try:
            yield
        finally:
            for task in self._refreshing.values():
                task.cancel()
            await asyncio.gather(*self._refreshing.values(), return_exceptions=True)
            for backend in (*self.runtime.backends.values(), *self._retired):
                backend.close()
            await self._client.aclose()
            self._log.settle()
            if self._spans is not None:
                await asyncio.to_thread(self._spans.close)
                self._log.settle()
            self.on_stopped()
            logger.info("stopped", extra={"fields": {"ended": self._counters.ended()}})


# Probes ask every few seconds.
QUIET_PATHS = ("/livez", "/readyz")


async def _await_keys(sources: Iterable[KeySource], seconds: float) -> None:
    """Join the first fetches. An issuer that is down does not keep the others' users waiting."""
    fetches = [asyncio.create_task(source.refresh()) for source in sources]
    if not fetches:
        return
    _, late = await asyncio.wait(fetches, timeout=seconds)
    for fetch in late:
        fetch.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _sources(runtime: Runtime) -> set[KeySource]:
    return {issuer.keys for issuer in runtime.issuers.values()}
