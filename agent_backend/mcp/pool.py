"""Connections to one MCP server: one per user and token, at most so many, closed when nobody wants them.

Rules: a connection serves one turn at a time, and only turns of the user and token it was opened with. A second turn of
the same user at the same time gets one of its own: calls are one after the other in a session, and one conversation's
slow tool must not hold up another's. Beyond the bound the longest idle goes; busy ones never do, and whoever comes when
all are busy waits for one, for a limited time. A new token closes what its user's old one left idle.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_backend.context import Owner, RequestContext
from agent_backend.mcp.choice import ServerChoice
from agent_backend.mcp.connection import Connection
from agent_backend.mcp.failures import ServerUnavailable, SessionLost
from agent_backend.mcp.wire import HeaderIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose connection it is. ``token`` is a digest, as keys end up in logs and debuggers."""

    owner: Owner
    token: str


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """One turn's use of a connection; `ConnectionPool.renew` may put another in its place."""

    key: Key
    context: RequestContext = field(repr=False)
    connection: Connection


class ConnectionPool:
    """Connections to the server of ``choice``. ``clock``: seconds, monotonic."""

    def __init__(self, choice: ServerChoice, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._choice = choice
        self._clock = clock
        self._room = asyncio.Semaphore(choice.max_connections)
        # The longest idle first.
        self._idle: list[tuple[Key, Connection]] = []
        self._busy: set[Lease] = set()
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        # Everything that is not wholly closed, and the task that sees to it.
        self._owners: dict[asyncio.Task[None], Connection] = {}
        self._down_until = 0.0

    def __repr__(self) -> str:
        return f"<ConnectionPool {self._choice.name} {len(self._busy)} busy, {len(self._idle)} idle>"

    @property
    def choice(self) -> ServerChoice:
        return self._choice

    async def lease(self, context: RequestContext) -> Lease:
        """A connection for one turn of this user. Raises `ServerUnavailable`. Give it back with `release`."""
        key = key_of(context)
        if self._choice.needs_token and not context.token:
            raise ServerUnavailable("the gateway forwards no token: set forward_token = true on its route")
        self._close_outdated(key)
        await self._take_room()
        try:
            connection = await self._usable_idle(key) or await self._open(context)
        except BaseException:
            self._room.release()
            raise
        lease = Lease(key=key, context=context, connection=connection)
        self._busy.add(lease)
        self._close_surplus()
        return lease

    async def renew(self, lease: Lease) -> None:
        """Another connection for the same turn, in place of one whose session is gone. Raises `ServerUnavailable`."""
        if lease not in self._busy:
            raise ServerUnavailable("the turn is over")
        lease.connection.close()
        lease.connection = await self._open(lease.context)
        if lease not in self._busy:
            lease.connection.close()  # given back while we were busy

    def release(self, lease: Lease) -> None:
        """Back to the idle ones, or closed if it is broken. Never waits: a cancelled turn ends here, too."""
        if lease not in self._busy:
            return
        self._busy.discard(lease)
        self._room.release()
        connection = lease.connection
        if connection.is_broken:
            connection.close()
            return
        self._idle.append((lease.key, connection))
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(self._choice.idle_timeout, self._expire, connection)

    async def aclose(self) -> None:
        """Close everything, what is just being opened, too, and wait until it is."""
        for lease in [*self._busy]:
            lease.connection.is_broken = True
            self.release(lease)
        for _, connection in [*self._idle]:
            self._expire(connection)
        for connection in [*self._owners.values()]:
            connection.abandon()
        if self._owners:
            # Each leaves within CLOSE_TIMEOUT by itself.
            await asyncio.wait([*self._owners])

    async def _take_room(self) -> None:
        try:
            async with asyncio.timeout(self._choice.connect_timeout):
                await self._room.acquire()
        except TimeoutError:
            raise ServerUnavailable(f"all {self._choice.max_connections} connections are busy") from None

    async def _usable_idle(self, key: Key) -> Connection | None:
        """The user's latest idle connection that still knows its tools, or None."""
        for place in reversed(range(len(self._idle))):
            if self._idle[place][0] != key:
                continue
            _, connection = self._idle.pop(place)
            self._timers.pop(connection).cancel()
            return connection if await is_usable(connection) else None
        return None

    async def _open(self, context: RequestContext) -> Connection:
        if self._clock() < self._down_until:
            raise ServerUnavailable(f"did not answer less than {self._choice.retry_after:g} s ago")
        connection = Connection(self._choice, auth=auth_of(self._choice, context))
        owner = connection.start()
        self._owners[owner] = connection
        owner.add_done_callback(self._owners.pop)
        try:
            await connection.opened()
        except ServerUnavailable as exc:
            if exc.is_down:
                self._down_until = self._clock() + self._choice.retry_after
            raise
        except asyncio.CancelledError:
            connection.abandon()
            raise
        return connection

    def _expire(self, connection: Connection) -> None:
        self._idle = [(key, one) for key, one in self._idle if one is not connection]
        timer = self._timers.pop(connection, None)
        if timer:
            timer.cancel()
        connection.close()

    def _close_outdated(self, key: Key) -> None:
        for other, connection in [*self._idle]:
            if other.owner == key.owner and other.token != key.token:
                self._expire(connection)

    def _close_surplus(self) -> None:
        """Idle ones give way: those who hold room are never more than the bound."""
        while self._idle and len(self._idle) + len(self._busy) > self._choice.max_connections:
            self._expire(self._idle[0][1])


def key_of(context: RequestContext) -> Key:
    return Key(owner=context.owner, token=hashlib.sha256((context.token or "").encode()).hexdigest())


def auth_of(choice: ServerChoice, context: RequestContext) -> HeaderIdentity | None:
    if choice.identity != "header" or not context.token:
        return None
    return HeaderIdentity(choice.header, f"{choice.scheme} {context.token}".strip())


async def is_usable(connection: Connection) -> bool:
    """Does it still know its tools? Closed when not, and when nobody waits for the answer any more."""
    try:
        await connection.list_tools()
    except SessionLost:
        pass  # which has marked it as broken
    except asyncio.CancelledError:
        connection.close()
        raise
    if connection.is_broken:
        connection.close()
    return not connection.is_broken
