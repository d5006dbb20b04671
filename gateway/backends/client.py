"""The HTTP client of the data path: one backend, whether it is at one address or at several; one exchange.

Rules: a request is sent once and never again by itself, because a POST may have been heard. Knows nothing of what the
requests mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.backends.answer import Answer
from gateway.backends.connection import Connection
from gateway.backends.pool import Address, BackendLimits, BackendRequest, Pool, write_lines
from gateway.backends.replicas import Replica, ReplicaSet
from gateway.backends.standing import Standing
from gateway.errors import GatewayError

__all__ = ["Address", "BackendClient", "BackendLimits", "BackendRequest", "PoolState", "ReplicaRules", "write_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRules:
    """What holds where a backend has several replicas.

    Attributes:
        eject_after: Failures in a row after which a replica gets no requests.
        eject_for: Seconds until it is tried again.
        by_thread: A thread has a home among them.
    """

    eject_after: int = 3
    eject_for: float = 10.0
    by_thread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """One replica at one moment, for whoever watches.

    Attributes:
        backend: Its name in the settings.
        address: Scheme, host and port.
        open: Connections that stand; ``idle`` of them wait for a request.
        outstanding: Exchanges under way, those that still connect included.
        ejected: It gets no requests but the one that tries it.
        ejections: How often it was ejected so far: one between two looks is not missed.
    """

    backend: str
    address: str
    open: int
    idle: int
    outstanding: int
    ejected: bool
    ejections: int


class Place(Protocol):
    """What an exchange needs of where it takes place."""

    async def begin(self, request: BackendRequest) -> tuple[Connection, Answer]: ...

    def end(self, connection: Connection, answer: Answer, reason: BaseException | None) -> None: ...


class BackendClient:
    """Exchanges requests for answers with one backend.

    Args:
        addresses: Of its replicas; their paths are the same. A single one is never ejected, for there is no other.

    Attributes:
        path: The raw path that requests go to, at every replica.
        by_thread: Its requests should say which thread they belong to (`BackendRequest.affinity`).
    """

    def __init__(
        self, *, name: str, addresses: Sequence[Address], limits: BackendLimits, rules: ReplicaRules | None = None
    ) -> None:
        rules = rules or ReplicaRules()
        self.name = name
        self.path = addresses[0].path
        self.by_thread = rules.by_thread and len(addresses) > 1
        self._replicas: list[Replica] = []
        self._place: Place
        if len(addresses) == 1:
            self._place = pool = Pool(name=name, address=addresses[0], limits=limits)
            self._pools = [pool]
            return
        for address in addresses:
            standing = Standing(eject_after=rules.eject_after, eject_for=rules.eject_for)
            self._replicas.append(Replica(backend=name, address=address, limits=limits, standing=standing))
        self._place = ReplicaSet(self._replicas)
        self._pools = [replica.pool for replica in self._replicas]

    def __repr__(self) -> str:
        return f"<Backend {self.name} {'; '.join(map(repr, self._replicas or self._pools))}>"

    def exchange(self, request: BackendRequest) -> "Exchange":
        """Send ``request``; the answer is good inside the context, and its connection is dropped if it was not read
        to its end.

        Raises:
            BackendUnavailable, BackendTimeout: The backend cannot be connected to.
            BackendBusy: All connections are taken.
        """
        return Exchange(self._place, request)

    def pools(self) -> list[PoolState]:
        """Each replica as it stands, in the settings' order."""
        standings = [replica.standing for replica in self._replicas] if self._replicas else [None]
        return [
            PoolState(
                backend=self.name,
                address=str(pool.address),
                open=pool.open,
                idle=pool.idle,
                outstanding=pool.outstanding,
                ejected=standing is not None and standing.is_ejected,
                ejections=standing.ejections if standing is not None else 0,
            )
            for pool, standing in zip(self._pools, standings, strict=True)
        ]

    def end_exchanges(self, failure: GatewayError) -> None:
        """Break off every exchange under way; their readers get ``failure``."""
        for pool in self._pools:
            pool.end_exchanges(failure)

    def retire(self) -> None:
        """Another client takes over: no connection is kept any more, those that idle are closed now. Exchanges under
        way finish by themselves, and so does one that still begins; with none outstanding there is nothing left.
        """
        for pool in self._pools:
            pool.retire()

    def close(self) -> None:
        """Drop every connection; exchanges under way end as `Draining`."""
        for pool in self._pools:
            pool.close()


class Exchange:
    """One request sent to a backend; its answer, while it is used as a context."""

    __slots__ = ("_answer", "_connection", "_place", "_request")

    def __init__(self, place: Place, request: BackendRequest) -> None:
        self._place = place
        self._request: BackendRequest | None = request

    async def __aenter__(self) -> Answer:
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("a request is sent once")
        self._connection, self._answer = await self._place.begin(request)
        return self._answer

    async def __aexit__(self, _kind: object, reason: BaseException | None, _traceback: object) -> None:
        self._place.end(self._connection, self._answer, reason)
