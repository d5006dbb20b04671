"""One turn at a time in a thread, among all processes that share the database.

Rules: a turn holds its thread by a row that ends by itself and is renewed while the turn runs: a process that was
killed frees its threads within the lease, and no turn costs a connection. Taking is one statement, so two can never
both have it. Whoever finds it taken may wait a little: the turn before may only be saving what it said. The times are
the database's own. Who lost the row (the thread was deleted, or this process slept for
longer than the lease and another turn began) is told, and its writes are refused: see `fenced` in `queries`.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Double, delete, extract, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.context import RequestContext
from agent_backend.problems import ClientLeft, DatabaseUnavailable
from agent_backend.store.database import reading, writing
from agent_backend.store.queries import known, owned
from agent_backend.store.tables import threads, turns
from agent_backend.tasks import to_the_end

# Seconds a thread stays taken when the process that answered in it has died. Longer than a wait for a connection and
# a statement together, so that a slow database costs no turn; short enough for somebody to wait and ask again.
LEASE = 30.0
# Renewals in one lease: two may fail before it ends.
RENEWALS = 3
# Seconds a turn waits for its thread. A turn that was stopped saves its answer within milliseconds, and within seconds
# on a busy database; whoever waits longer sits before an answer that is still being written.
WAIT = 2.0
# Seconds between two looks at a thread that is held elsewhere: the first, and the most; each is twice the one before.
# Who waits and leaves is noticed at the next look.
FIRST_LOOK, LAST_LOOK = 0.05, 0.5

IsGone = Callable[[], Awaitable[bool]]

logger = logging.getLogger(__name__)


class Lease:
    """One turn's hold on its thread. ``holder`` is its name in the row; the store's writes carry it."""

    def __init__(self, leases: "Leases") -> None:
        self.holder = secrets.token_hex(16)
        self.thread_id: str | None = None
        self.is_lost = False
        self.released = asyncio.Event()
        self.on_lost: Callable[[], object] = lambda: None
        self._leases = leases

    async def take(self, thread_id: str, context: RequestContext) -> bool:
        """Hold it from now on. False when another turn does, or when this owner has no such thread."""
        return await to_the_end(self._leases.take(self, thread_id, context))

    async def wait_for(self, thread_id: str, context: RequestContext, *, is_gone: IsGone) -> bool:
        """Hold it once the turn before lets it go. False when that takes too long.

        Raises:
            ClientLeft: nobody waits for the answer any more.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._leases.wait, FIRST_LOOK
        while (left := until - loop.time()) > 0:
            await self._leases.until_free(thread_id, within=min(pause, left))
            if await is_gone():
                raise ClientLeft(f"while thread {thread_id} was busy")
            if await self.take(thread_id, context):
                return True
            pause = min(2 * pause, LAST_LOOK)
        return False

    async def release(self) -> None:
        """Let it go; may be called twice, or when it was never held."""
        await to_the_end(self._leases.release(self))

    async def is_held(self) -> bool:
        """Is the row still ours? A database that cannot tell has not given it to anybody else."""
        self.is_lost = self.is_lost or not await self._leases.has(self)
        return not self.is_lost

    def lose(self) -> None:
        self.is_lost = True
        self.on_lost()


class Leases:
    """The turns of this process. ``seconds`` is how long a hold lasts without being renewed; ``wait``, in seconds, how
    long a turn waits for one.
    """

    def __init__(self, *, engine: AsyncEngine, seconds: float = LEASE, wait: float = WAIT) -> None:
        self.wait = wait
        self._engine = engine
        self._seconds = seconds
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._held: dict[str, Lease] = {}
        # Rows that could not be deleted when their turns ended; the next turn here does it first.
        self._owed: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Leases {len(self._held)} held for {self._seconds:g} s>"

    def build(self) -> Lease:
        """A lease on nothing yet."""
        return Lease(self)

    def lose(self, thread_id: str) -> None:
        """The thread is gone: whoever answers in it here stops at once. Elsewhere the next renewal finds out."""
        for lease in list(self._held.values()):
            if lease.thread_id == thread_id:
                lease.lose()

    async def until_free(self, thread_id: str, *, within: float) -> None:
        """Until the turn that holds it here has let it go; of other processes nothing is heard, so just a while."""
        holder = next((lease for lease in self._held.values() if lease.thread_id == thread_id), None)
        if holder is None:
            await asyncio.sleep(within)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(holder.released.wait(), within)

    async def take(self, lease: Lease, thread_id: str, context: RequestContext) -> bool:
        ends_at = self._now() + self._seconds
        # From the owned thread's own row: without it nothing is inserted.
        source = select(threads.c.id, literal(lease.holder), ends_at).where(
            threads.c.id == known(thread_id), owned(threads, context.owner)
        )
        insert = self._insert(turns).from_select(["thread_id", "holder", "ends_at"], source, include_defaults=False)
        take = insert.on_conflict_do_update(
            index_elements=["thread_id"],
            set_={"holder": insert.excluded.holder, "ends_at": insert.excluded.ends_at},
            where=turns.c.ends_at < self._now(),
        )
        owed = set(self._owed)
        async with writing(self._engine) as connection:
            if owed:
                await connection.execute(delete(turns).where(turns.c.holder.in_(owed)))
            result: CursorResult[Any] = await connection.execute(take)
        self._owed -= owed
        if result.rowcount == 0:
            return False
        lease.thread_id = thread_id
        self._held[lease.holder] = lease
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        return True

    async def release(self, lease: Lease) -> None:
        if self._held.pop(lease.holder, None) is None:
            return
        try:
            if not self._held:
                await self._stop_keeper()
            async with writing(self._engine) as connection:
                await connection.execute(delete(turns).where(turns.c.holder == lease.holder))
        except DatabaseUnavailable as exc:
            self._owed.add(lease.holder)
            logger.warning("a thread stays taken for a while", extra={"error": str(exc)})
        finally:
            lease.released.set()

    async def has(self, lease: Lease) -> bool:
        if lease.holder not in self._held:
            return True  # it never had a thread to lose
        try:
            async with reading(self._engine) as connection:
                query = select(turns.c.thread_id).where(turns.c.holder == lease.holder)
                return (await connection.execute(query)).first() is not None
        except DatabaseUnavailable:
            return True

    async def renew(self) -> None:
        """Prolong everything held here, in one statement; whoever is not in its row any more is told."""
        held = dict(self._held)
        prolong = update(turns).where(turns.c.holder.in_(held)).values(ends_at=self._now() + self._seconds)
        async with writing(self._engine) as connection:
            kept = set((await connection.execute(prolong.returning(turns.c.holder))).scalars())
        for holder in held.keys() - kept:
            if holder in self._held:  # and not released while we asked
                held[holder].lose()

    async def _keep(self) -> None:
        """Renew while anything is held."""
        while True:
            await asyncio.sleep(self._seconds / RENEWALS)
            try:
                # Cut in the middle it would keep SQLite's one place to write, and whoever writes next waits in vain.
                await to_the_end(self.renew())
            except DatabaseUnavailable as exc:
                # The row may end meanwhile. Until another turn takes it, it is still ours.
                logger.warning("threads not held longer", extra={"error": str(exc), "turns": len(self._held)})
            except Exception:  # whatever it is: turns that begin later rely on this task, too
                logger.exception("threads not held longer", extra={"turns": len(self._held)})

    async def _stop_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    def _now(self) -> ColumnElement[float]:
        """Seconds since 1970, by the database's clock."""
        if self._engine.dialect.name == "postgresql":
            return extract("epoch", func.clock_timestamp()).cast(Double)
        return (func.julianday("now", type_=Double) - literal(2440587.5, Double)) * literal(86400.0, Double)
