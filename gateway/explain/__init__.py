"""Why was this request refused? `gateway explain`: one token, cookie or captured request, walked step by step.

A token or a cookie makes a request of its own for one route; a captured request goes where its path leads. Either
comes in over the gateway's own wire (`arrival`), is walked through the functions of the request path (`walk`), and what
is refused gets the one sentence of what to change (`fixes`). Rules: secrets come by file or standard input, and no
token, cookie or claim is printed, but for what a rule looks at.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import httpx

from gateway.auth.signed_urls import UrlSigner
from gateway.auth.verifier import Verifier
from gateway.compile import build_backend, build_issuers, build_route_table, build_routes
from gateway.entrance import Route
from gateway.explain.arrival import bring_in, write_request
from gateway.explain.captures import Given
from gateway.explain.fixes import FIXES, Known, find_fix
from gateway.explain.given import NotExplained, read_given, use_key_files
from gateway.explain.walk import Findings, Step, Walk
from gateway.settings import Settings
from gateway.wire.logs import redact
from gateway.wire.protocol import ServerLimits

__all__ = ["NotExplained", "explain", "read_given", "use_key_files"]

_MARKS: Final = {"ok": "ok   ", "failed": "FAIL ", "passed over": "-    "}


def explain(settings: Settings, given: Given, *, clock: Callable[[], float] = time.time) -> int:
    """Print each step, then the verdict; returns 0 if the request is accepted, 1 if it is refused.

    Args:
        clock: Wall-clock seconds at which the request is judged.
    """
    found, failure = asyncio.run(_walk(settings, given, clock))
    width = max(len(step.name) for step in found.steps)
    for step in found.steps:
        print(f"{_MARKS[step.outcome]} {step.name:{width}}  {_clean(step.value)}")
    if failure is None:
        print("accepted" if found.identity is not None else "accepted, without any credential")
        return 0
    print(failure)
    return 1


async def _walk(settings: Settings, given: Given, clock: Callable[[], float]) -> tuple[Findings, str | None]:
    """What was found, and what is said of a refusal."""
    backends = {name: build_backend(name, table) for name, table in settings.backends.items()}
    table = settings.server
    async with _build_client(settings) as client:
        verifier = Verifier(issuers=build_issuers(settings, client).values(), cache_size=1, clock=clock)
        routes = {name: _at_time(route, settings, clock) for name, route in build_routes(settings, backends).items()}
        walk = Walk(
            given=given,
            settings=settings,
            routes=routes,
            table=build_route_table(routes),
            verifier=verifier,
            clock=clock,
        )
        limits = ServerLimits(
            max_head=table.max_head,
            max_headers=table.max_headers,
            head_timeout=table.head_timeout,
            keep_alive=table.keep_alive,
            write_timeout=table.write_timeout,
        )
        problem = await bring_in(write_request(given), walk, limits)
    if walk.bug is not None:
        raise walk.bug
    found = walk.found
    known = Known(given=given, found=found, settings=settings)
    if problem is not None:
        found.steps.append(Step(name="request", value=problem["message"], outcome="failed"))
        return found, _refusal(problem["status"], problem["code"], FIXES[problem["code"]](known))
    if found.failure is None:
        return found, None
    return found, _refusal(found.failure.status, found.failure.code, find_fix(found.failure, known))


def _build_client(settings: Settings) -> httpx.AsyncClient:
    """As in service. Where all keys are in files it trusts nobody: to read the system's certificates takes a while."""
    is_offline = all(issuer.jwks_file is not None for issuer in settings.issuers.values())
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_offline else True
    return httpx.AsyncClient(headers={"accept": "application/json"}, verify=verify)


def _refusal(status: int, code: str, fix: str) -> str:
    return f"refused: {status} {code}\nchange: {_clean(fix, 1000)}"


def _at_time(route: Route, settings: Settings, clock: Callable[[], float]) -> Route:
    """The route, judging signed URLs by ``clock``."""
    if route.signer is None:
        return route
    table = settings.signed_urls
    keys = [key.get_secret_value() for key in table.keys]
    return replace(route, signer=UrlSigner(keys=keys, max_minutes=table.max_minutes, clock=clock))


def _clean(text: str, longest: int = 500) -> str:
    """Text that stays on its line, leaves the terminal alone, and repeats no credential that stood in a path."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in redact(text))
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
