"""How a load is applied. A table, in two sizes; what the words mean to the load program is said in its source."""

from dataclasses import dataclass
from typing import Literal

# Bytes, of a JSON answer and of an event: a page of items, a few words of text.
ANSWER, EVENT = 1024, 200
# Seconds that a run may take beyond its plan before what is still open has failed.
GRACE = 10.0

Kind = Literal["json", "stream", "first byte", "open", "soak"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load. Times are seconds.

    Attributes:
        kind: Decides which figures are taken from it.
        title: What the report calls it.
        wish: What the backend is asked for, somewhere in the request's text.
        connections: At once.
        ramp: Over which they are opened.
        warm: Not timed, at the beginning.
        time: Timed, after that.
        events: Of one stream; 0 for a JSON operation.
        interval: Between two events, and what one may be late by before it counts as late.
        once: Each connection asks once, instead of again and again.
        mixed: A connection has requests of all users in turn, as behind a proxy, instead of one user's.
        every_round: Not only in the last, and by more than the gateway.
    """

    name: str
    kind: Kind
    title: str
    wish: str
    connections: int
    ramp: float = 0.0
    warm: float = 0.0
    time: float
    events: int = 0
    interval: float = 1.0
    once: bool = False
    mixed: bool = False
    every_round: bool = True

    @property
    def operation(self) -> str:
        """The ChatKit operation that asks for it."""
        return "threads.create" if self.events else "items.list"

    @property
    def limit(self) -> float:
        """When what is still open has failed."""
        return self.ramp + self.warm + self.time + self.events * self.interval + GRACE


def plan(*, quick: bool) -> tuple[Scenario, ...]:
    """Every scenario, long enough to compare by, or (``quick``) just long enough to see that it works."""
    if quick:
        return (
            _json(1, seconds=0.5),
            _json(64, seconds=0.5),
            _json(64, seconds=0.5, mixed=True),
            _streams(100, events=60, ramp=0.4),
            _streams(500, events=60, ramp=0.4),
            _first_byte(seconds=0.5),
            _open(2000, events=4, ramp=1.0),
        )
    return (
        _json(1, seconds=3),
        _json(64, seconds=4),
        _json(64, seconds=4, mixed=True),
        _streams(100, events=200, ramp=1.0),
        _streams(500, events=200, ramp=1.0),
        _first_byte(seconds=3),
        _open(2000, events=12, ramp=3.0),
        _open(5000, events=15, ramp=6.0),
        _soak(5000, seconds=60),
    )


# What each subject does before anything is measured: every token is seen, pools and caches are what they will be.
WARM_UP = Scenario(
    name="warm-up",
    kind="first byte",
    title="warm-up",
    wish=f"#sse:2:1:{EVENT}#",
    connections=16,
    time=0.3,
    events=2,
    interval=0.001,
    mixed=True,
)


def _json(connections: int, *, seconds: float, mixed: bool = False) -> Scenario:
    return Scenario(
        name=f"json-{connections}{'-mixed' if mixed else ''}",
        kind="json",
        title=f"JSON, {connections} connection{'s' if connections > 1 else ''}{', users mixed' if mixed else ''}",
        wish=f"#json:{ANSWER}#",
        connections=connections,
        warm=seconds / 6,
        time=seconds,
        mixed=mixed,
    )


def _streams(streams: int, *, events: int, ramp: float) -> Scenario:
    interval = 0.02
    return Scenario(
        name=f"streams-{streams}",
        kind="stream",
        title=f"{streams} streams, {streams / interval:,.0f} events/s",
        wish=f"#sse:{events}:{interval * 1000:.0f}:{EVENT}#",
        connections=streams,
        ramp=ramp,
        warm=ramp,
        time=(events - 2) * interval - ramp,  # until the first stream ends, a little before events * interval
        events=events,
        interval=interval,
        once=True,
    )


def _first_byte(*, seconds: float) -> Scenario:
    return Scenario(
        name="ttfb",
        kind="first byte",
        title="first byte of a stream, one at a time",
        wish=f"#sse:2:1:{EVENT}#",
        connections=1,
        warm=seconds / 6,
        time=seconds,
        events=2,
        interval=0.001,
    )


def _open(streams: int, *, events: int, ramp: float) -> Scenario:
    return Scenario(
        name=f"open-{streams}",
        kind="open",
        title=f"{streams:,} open streams, 1 event/s each",
        wish=f"#sse:{events}:1000:{EVENT}#",
        connections=streams,
        ramp=ramp,
        warm=ramp,
        time=events - 2 - ramp,
        events=events,
        once=True,
    )


def _soak(streams: int, *, seconds: float) -> Scenario:
    """So many streams at every moment for so long: whoever has read one to its end begins the next."""
    return Scenario(
        name="soak",
        kind="soak",
        title=f"{streams:,} streams for {seconds:.0f} s",
        wish=f"#sse:20:1000:{EVENT}#",
        connections=streams,
        ramp=10.0,
        warm=10.0,
        time=seconds,
        events=20,
        every_round=False,
    )
