"""What a process is like at this moment: its streams, its memory of tokens, its keys, its connections.

Knows where each value is; what they add up to is the catalogue's.
"""

import platform
from collections.abc import Iterable, Mapping

from gateway import __version__
from gateway.auth.verifier import TrustedIssuer, Verifier
from gateway.backends.client import BackendClient
from gateway.limits import Limiter
from gateway.metrics.reading import Reading


def write_state(reading: Reading, *, is_ready: bool, is_reloaded: bool) -> None:
    """The process itself. ``is_reloaded``: the last reload of the settings, if any, was taken."""
    reading.set("gateway_workers", (), 1)
    reading.set("gateway_ready", (), int(is_ready))
    reading.set("gateway_reload_successful", (), int(is_reloaded))
    reading.set("gateway_build_info", (__version__, platform.python_version()), 1)


def write_streams(reading: Reading, limiter: Limiter) -> None:
    """How many streams there are, and how many there may be."""
    reading.set("gateway_open_streams", (), limiter.open_streams)
    reading.set("gateway_max_streams", (), limiter.max_streams)


def write_issuers(reading: Reading, verifier: Verifier, issuers: Mapping[str, TrustedIssuer]) -> None:
    """Tokens remembered; of each issuer, by its name in the settings, how old its keys are and how they came."""
    reading.set("gateway_remembered_tokens", (), verifier.remembered)
    reading.set("gateway_max_remembered_tokens", (), verifier.capacity)
    for name, issuer in issuers.items():
        keys = issuer.keys
        reading.set("gateway_keys_usable", (name,), int(keys.missing() is None))
        if keys.age is not None:
            reading.set("gateway_key_age_seconds", (name,), keys.age)
        for result, count in keys.fetches.items():
            reading.add("gateway_key_fetches_total", (name, result), count)


def write_backends(reading: Reading, backends: Iterable[BackendClient]) -> None:
    """Connections to each replica, and how it stands."""
    for backend in backends:
        for pool in backend.pools():
            replica = (pool.backend, pool.address)
            reading.set("gateway_backend_connections", (*replica, "busy"), pool.open - pool.idle)
            reading.set("gateway_backend_connections", (*replica, "idle"), pool.idle)
            reading.set("gateway_backend_exchanges", replica, pool.outstanding)
            reading.set("gateway_backend_ejected", replica, int(pool.ejected))
            reading.add("gateway_backend_ejections_total", replica, pool.ejections)
