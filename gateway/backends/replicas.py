"""Several replicas of one backend as one place to send requests to.

Rules: a request goes to the replica with the fewest under way, among those that stand well, or, with an affinity, to
the one that is its home; if all are ejected, to any, for a slim chance is better than a certain refusal. It is tried
at one other replica if nothing was sent to the first, and never otherwise: a POST may have been heard. Knows nothing
of what the requests mean.
"""

import logging
from collections.abc import Sequence
from hashlib import blake2b

from gateway.backends.answer import Answer
from gateway.backends.connection import Connection
from gateway.backends.pool import Address, BackendLimits, BackendRequest, Pool
from gateway.backends.standing import UNFIT_STATUSES, Standing, judge_exchange
from gateway.errors import BackendBusy, GatewayError

logger = logging.getLogger("gateway.backends")


class Replica:
    """One replica: its connections, and how it stands."""

    def __init__(self, *, backend: str, address: Address, limits: BackendLimits, standing: Standing) -> None:
        self.name = str(address)
        self.standing = standing
        self.pool = Pool(name=backend, address=address, limits=limits, on_head=self._note_head, looks_before_use=True)
        self._backend = backend

    def __repr__(self) -> str:
        return f"{self.pool!r}{', ejected' if self.standing.is_ejected else ''}"

    async def begin(self, request: BackendRequest) -> tuple[Connection, Answer]:
        self.standing.note_request()
        try:
            return await self.pool.begin(request)
        except BackendBusy:
            raise  # our own bound, and no fault of the replica's
        except GatewayError as exc:
            self._note_failure(exc)
            raise

    def end(self, connection: Connection, answer: Answer, reason: BaseException | None) -> None:
        failure = judge_exchange(answer, reason)
        if failure is not None:
            self._note_failure(failure)
        self.pool.end(connection, answer, reason)

    def _note_head(self, status: int) -> None:
        """As soon as it is there: the answer itself may take minutes."""
        if status not in UNFIT_STATUSES and self.standing.note_answer():
            logger.info("replica is back", extra={"fields": {"backend": self._backend, "replica": self.name}})

    def _note_failure(self, failure: GatewayError) -> None:
        if self.standing.note_failure():
            fields = {"backend": self._backend, "replica": self.name, "reason": str(failure)}
            logger.warning("replica ejected", extra={"fields": fields})


class ReplicaSet:
    """Chooses a replica for each request."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = tuple(replicas)
        self._names = [replica.name for replica in replicas]
        self._turn = 0
        self._places: dict[Answer, Replica] = {}

    async def begin(self, request: BackendRequest) -> tuple[Connection, Answer]:
        """Send ``request`` to one of them; whoever calls this must call `end`.

        Raises:
            BackendUnavailable, BackendTimeout, BackendBusy: Two of them could not be connected to.
        """
        first = self._choose(request.affinity)
        try:
            return await self._begin_at(first, request)
        except GatewayError as exc:
            failure = exc
        second = self._find_least_busy([replica for replica in self._replicas if replica is not first])
        try:
            return await self._begin_at(second, request)
        except GatewayError as exc:
            raise type(exc)(f"{exc}; before that {failure}") from failure

    def end(self, connection: Connection, answer: Answer, reason: BaseException | None) -> None:
        self._places.pop(answer).end(connection, answer, reason)

    async def _begin_at(self, replica: Replica, request: BackendRequest) -> tuple[Connection, Answer]:
        # Until the first await of its pool nothing else runs: what was chosen is counted before the next one chooses.
        connection, answer = await replica.begin(request)
        self._places[answer] = replica
        return connection, answer

    def _choose(self, affinity: str | None) -> Replica:
        if affinity is not None:
            home = self._replicas[find_home(self._names, affinity)]
            if home.standing.is_fit:
                return home
        return self._find_least_busy(self._replicas)

    def _find_least_busy(self, replicas: Sequence[Replica]) -> Replica:
        """Of several equals each in turn."""
        candidates = [replica for replica in replicas if replica.standing.is_fit] or replicas
        self._turn += 1
        start = self._turn % len(candidates)
        return min((*candidates[start:], *candidates[:start]), key=lambda replica: replica.pool.outstanding)


def find_home(names: Sequence[str], affinity: str) -> int:
    """Which of ``names`` is home to ``affinity``: its index.

    Every gateway finds the same, in whatever order its settings name them, and after a restart; when one is added or
    removed, only what is at home there moves.

    Source: rendezvous hashing, Thaler and Ravishankar 1998.
    """
    # A JSON string may hold half a surrogate pair.
    key = affinity.encode("utf-8", "surrogatepass")

    return max(range(len(names)), key=lambda index: blake2b(names[index].encode() + b"\0" + key).digest())
