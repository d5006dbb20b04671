"""What an attack is, and what must become of it.

A `Row` is one request and its required result; a `Trial` takes several steps and says itself what it saw. Both fail
with an AssertionError that tells what was seen instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.attack import judge
from tests.attack.judge import Arrival
from tests.attack.wire import Answer, exchange
from tests.attack.world import World

Request = bytes | Sequence[bytes]


class Attack(Protocol):
    """Anything a section's table may hold."""

    @property
    def threat(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def own(self) -> bool: ...

    @property
    def wanted(self) -> str: ...

    def run(self, world: World) -> str:
        """Do it; returns what was seen. AssertionError when that is not what was wanted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """This status with this code, and nothing at the backend.

    Attributes:
        closed: The connection must be closed: where the request ends is in doubt.
        cors: An allowed page must be able to read the refusal; otherwise nobody may.
    """

    status: int
    code: str
    closed: bool = False
    cors: bool = False

    def __str__(self) -> str:
        return f"{self.status} {self.code}{', closed' if self.closed else ''}{', readable' if self.cors else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A 2xx after exactly one request at the backend, which is exactly right; ``check`` looks closer."""

    check: Callable[[World, Arrival, Answer], None] | None = None
    note: str = ""
    closed: bool = False

    def __str__(self) -> str:
        return f"served{', ' + self.note if self.note else ''}{', closed' if self.closed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request on one connection.

    Attributes:
        threat: Which line of threats.txt this is about: its beginning.
        to: Who is attacked: the gateway, the one whose keys fade, or the agent backend itself.
        own: Not on the list we were given.
    """

    threat: str
    name: str
    attack: Callable[[World], Request]
    expected: Refused | Served
    to: str = "gateway"
    own: bool = False

    @property
    def wanted(self) -> str:
        return str(self.expected)

    def run(self, world: World) -> str:
        request = self.attack(world)
        before = len(world.backend.exchanges)
        seen = exchange(world.services[self.to].port, request, to_end=self.expected.closed)
        arrived = world.backend.exchanges[before:]
        if isinstance(self.expected, Refused):
            judge.check_refused(
                seen,
                status=self.expected.status,
                code=self.expected.code,
                closed=self.expected.closed,
                cors=self.expected.cors,
            )
            assert not arrived, f"{len(arrived)} request(s) at the backend"
            return f"{seen.answers[0].status} {self.expected.code}"
        arrival = judge.check_served(world, request, seen, arrived, closed=self.expected.closed)
        if self.expected.check is not None:
            self.expected.check(world, arrival, seen.answers[0])
        return f"{seen.answers[0].status}, one request at the backend"


def row(
    threat: str,
    name: str,
    attack: Callable[[World], Request],
    expected: Refused | Served,
    *,
    to: str = "gateway",
    own: bool = False,
) -> Row:
    """A `Row` in few words."""
    return Row(threat=threat, name=name, attack=attack, expected=expected, to=to, own=own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Several steps; ``trial`` returns what it saw, or raises an AssertionError that says it."""

    threat: str
    name: str
    wanted: str
    trial: Callable[[World], str]
    own: bool = False

    def run(self, world: World) -> str:
        return self.trial(world)
