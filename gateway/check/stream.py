"""Does a stream come through what stands in front of the gateway, event by event?

Asks a public URL of the gateway for its paced stream (`gateway.pace`) and compares when each event was sent with when
it came. Rules: only differences of times count, so clocks and distance do not; nobody is signed in, no backend asked.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import httpx

from gateway.check.findings import Finding, fail, warn
from gateway.pace import EVENTS, INTERVAL, QUERY

# Seconds, for the connection and between two pieces.
TIMEOUT: Final = 15.0

# Bytes. The paced stream has half a kilobyte; a front end's page may come instead.
MAX_ANSWER: Final = 64 * 1024

# Seconds that an event may come late before it was held back: a crowded phone network's worst, not a buffer's two.
HELD: Final = EVENTS * INTERVAL / 2

_FIXES: Final = (
    "nginx: proxy_buffering off; gzip off. Caddy: flush_interval -1. Apache: flushpackets=on, no mod_deflate. Envoy: "
    "no buffer filter, no compressor. A CDN: no caching, compression or inspection for this path"
)

# When an event was sent, after the stream's start, and when it came, on this machine's clock. Seconds.
Arrival = tuple[float, float]


async def try_stream(url: str, *, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Finding]:
    """What became of the stream on its way here.

    Args:
        url: A route of the gateway as browsers see it, such as ``https://chat.example.com/chatkit``.
    """
    what = f"stream through {url}"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, headers={"accept": "text/event-stream"}) as client:
            target = httpx.URL(url).copy_with(query=QUERY)
            async with client.stream("POST", target, headers={"content-type": "application/json"}) as answer:
                problem = _judge_head(answer)
                if problem is not None:
                    yield fail(what, problem)
                    return
                coding = answer.headers.get("content-encoding", "identity")
                arrivals = await _read(answer, clock)
    except (httpx.HTTPError, httpx.InvalidURL, TypeError) as exc:
        yield fail(what, f"{type(exc).__name__}: {exc}; is it the address that browsers use, and a route's path?")
        return
    if coding != "identity":
        yield warn(what, f"came compressed ({coding}), which collects events until a block is full; {_FIXES}")
    yield judge_arrivals(what, arrivals)


def judge_arrivals(what: str, arrivals: Sequence[Arrival]) -> Finding:
    """Did each event come about when it was sent? The one that came soonest is the measure."""
    if len(arrivals) < EVENTS:
        return fail(
            what, f"broke off after {len(arrivals)} of {EVENTS} events: something in front cuts streams; {_FIXES}"
        )
    offsets = [came - sent for sent, came in arrivals]
    held = max(offsets) - min(offsets)
    if held >= HELD:
        return fail(what, f"events were held back for up to {held:.1f} s: something in front buffers; {_FIXES}")
    return Finding(what=f"{what}: {EVENTS} events, none later than {held:.1f} s")


def _judge_head(answer: httpx.Response) -> str | None:
    if answer.is_redirect:
        return (
            f"redirected to {answer.headers.get('location', '')!r:.200}: ChatKit's POST would not follow; use that URL"
        )
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code != 200 or kind != "text/event-stream":
        return (
            f"answered {answer.status_code} {kind!r:.80} instead of the gateway's paced stream; does the path of a "
            "route lead to this gateway, with its query, and is it this version?"
        )
    return None


async def _read(answer: httpx.Response, clock: Callable[[], float]) -> list[Arrival]:
    arrivals: list[Arrival] = []
    held = b""
    size = 0
    try:
        async for piece in answer.aiter_bytes():
            now = clock()
            size += len(piece)
            *frames, held = (held + piece).split(b"\n\n")
            arrivals += [(sent, now) for frame in frames if (sent := _read_frame(frame)) is not None]
            if size > MAX_ANSWER:
                break
    except httpx.HTTPError:
        pass  # what came before tells how far it got
    return arrivals


def _read_frame(frame: bytes) -> float | None:
    try:
        return float(json.loads(frame.removeprefix(b"data: "))["at"])
    except (ValueError, LookupError, TypeError):
        return None
