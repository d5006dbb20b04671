"""Would these settings work? Looks them over, and tries what they name. Also shows the effective settings.

In this order: what the settings alone show (`review`), what is behind them (`trials`: keys, clocks, backends), and,
where asked for, the login's cookie (`cookies`) and the way in from outside (`stream`). A line for each thing, with the
fix where there is one to make.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from gateway.check.cookies import judge_cookies, read_cookies
from gateway.check.findings import Finding, fail
from gateway.check.review import review
from gateway.check.show import show
from gateway.check.stream import try_stream
from gateway.check.trials import try_all
from gateway.settings import Settings

__all__ = ["check", "show"]


def check(
    settings: Settings,
    *,
    through: str | None = None,
    set_cookie: str | None = None,
    offline: bool = False,
    clock: Callable[[], float] = time.time,
) -> int:
    """Print what was found; returns 0 unless something does not work.

    Args:
        through: A public URL of a route of the running gateway: is a stream held back on the way?
        set_cookie: Headers of the login's answer: will its cookie come?
        offline: Contact nobody but ``through``.
        clock: Wall-clock seconds.
    """
    counts = asyncio.run(_print_all(_find_all(settings, through, set_cookie, clock, offline=offline)))
    if counts["failure"]:
        print(f"gateway: {counts['failure']} of the things above do not work", file=sys.stderr)
        return 1
    warnings = f"; {counts['warning']} warning(s)" if counts["warning"] else ""
    print(
        f"gateway: settings are good: {len(settings.routes)} route(s), {len(settings.backends)} backend(s), "
        f"{len(settings.issuers)} issuer(s){warnings}"
    )
    return 0


async def _find_all(
    settings: Settings, through: str | None, set_cookie: str | None, clock: Callable[[], float], *, offline: bool
) -> AsyncIterator[Finding]:
    for finding in review(settings):
        yield finding
    if not offline:
        async for finding in try_all(settings, clock=clock):
            yield finding
    if set_cookie is not None:
        cookies = read_cookies(set_cookie)
        if not cookies:
            yield fail("login's cookie", "no Set-Cookie header there; capture the login's answer, with curl -i say")
        for finding in judge_cookies(cookies, settings):
            yield finding
    if through is not None:
        async for finding in try_stream(through):
            yield finding


async def _print_all(findings: AsyncIterator[Finding]) -> Counter[str]:
    counts: Counter[str] = Counter()
    async for finding in findings:
        print(finding, flush=True)
        counts[finding.outcome] += 1
    return counts
