"""How much one user may ask for, and how many streams the process takes: kept in memory, per process.

Rules: a rate is a bucket that drips (GCRA): a minute's allowance may come at once, what follows evenly; what is
refused costs the user nothing. A stream is counted from its admission to its end, whatever ends it. The user is who
the token says, on one route; an address decides nothing. Knows nothing of HTTP or of what the operations mean.

Each worker process counts for itself: with N of them a user may get up to N times as much. A limit that holds across
machines needs a shared counter in front; this one keeps a runaway script or a stolen cookie from using up the model.

Source: ITU-T I.371 annex A (the generic cell rate algorithm).
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.errors import GatewayBusy, RateLimited, TooManyStreams

Kind = Literal["answer", "read", "write"]

# Seconds of allowance that may come at once: a page that opens reads its threads, one of them and all of its items.
BURST: Final = 60.0

# Buckets looked at before those that have run empty are forgotten. About 300 bytes each.
SWEEP_AT: Final = 10_000

# Seconds. What a refused stream is told: when another will have ended cannot be known.
STREAM_RETRY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one user may have on one route. 0 stands for no limit.

    Attributes:
        per_minute: Requests of each kind.
        open_streams: At the same time.
    """

    per_minute: Mapping[Kind, int] = field(default_factory=dict)
    open_streams: int = 0


class Limiter:
    """Counts requests and streams.

    Args:
        max_streams: Of all users together.
        clock: Monotonic seconds.

    Attributes:
        open_streams: How many there are.
    """

    def __init__(self, *, max_streams: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_streams = max_streams
        self.open_streams = 0
        self._clock = clock
        # When a bucket will have run empty; one that has is as good as none.
        self._empty_at: dict[tuple[object, Kind], float] = {}
        self._sweep_at = SWEEP_AT
        self._streams: dict[object, int] = {}

    def __repr__(self) -> str:
        return f"<Limiter {self.open_streams} of {self.max_streams} streams, {len(self._empty_at)} buckets>"

    def admit(self, user: object, kind: Kind, allowance: Allowance) -> None:
        """Count one request of ``user`` (anything hashable that stands for a person on a route).

        Raises:
            RateLimited: It comes too early; it has not been counted.
        """
        per_minute = allowance.per_minute.get(kind, 0)
        if not per_minute:
            return
        now = self._clock()
        interval = 60.0 / per_minute
        bucket = (user, kind)
        empty_at = max(self._empty_at.get(bucket, now), now)
        early = empty_at - now - (BURST - interval)
        if early > 1e-9:
            raise RateLimited(f"more than {per_minute} of kind {kind} a minute", retry_after=math.ceil(early))
        self._empty_at[bucket] = empty_at + interval
        if len(self._empty_at) > self._sweep_at:
            self._sweep(now)

    def take_place(self, user: object, allowance: Allowance) -> None:
        """Count one stream more; whoever calls this must call `leave_place`.

        Raises:
            GatewayBusy: The process has all the streams that it takes.
            TooManyStreams: The user has.
        """
        mine = self._streams.get(user, 0)
        if self.open_streams >= self.max_streams:
            raise GatewayBusy(f"{self.open_streams} streams are open (server.max_streams)", retry_after=STREAM_RETRY)
        if allowance.open_streams and mine >= allowance.open_streams:
            raise TooManyStreams(f"the user has {mine} streams open (open_streams)", retry_after=STREAM_RETRY)
        self.open_streams += 1
        self._streams[user] = mine + 1

    def leave_place(self, user: object) -> None:
        """And one less."""
        self.open_streams -= 1
        left = self._streams[user] - 1
        if left:
            self._streams[user] = left
        else:
            del self._streams[user]

    def _sweep(self, now: float) -> None:
        """Forget whoever could send a whole burst again. What is left doubles the next bound: a sweep stays rare."""
        self._empty_at = {key: empty_at for key, empty_at in self._empty_at.items() if empty_at > now}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._empty_at))
