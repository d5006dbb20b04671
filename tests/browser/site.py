"""A web site for the kit's tests: a page, the kit's files as the gateway serves them, and answers made to order."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.kit.endpoint import build_kit_routes
from gateway.kit.files import SCRIPT, kit_path
from tests.support.servers import serve

PAGE = """<!doctype html>
<html lang="en"><head><title>A page</title><link rel="icon" href="data:,"></head><body>{body}</body></html>"""
# Readable by every page that sends no credentials, as a storage for uploads is.
OPEN = {"access-control-allow-origin": "*", "access-control-allow-headers": "*", "access-control-allow-methods": "*"}


@dataclass(slots=True)
class Site:
    """Serves ``/``, the kit, and at every other path what ``answers`` has for it.

    Attributes:
        answers: Path to status, body and headers; 200 and ``{}`` where there is none.
        held: Paths that answer only once they are taken out of here.
        requests: What arrived at those paths, in order.
    """

    url: str = ""
    answers: dict[str, tuple[int, str, Mapping[str, str]]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    requests: list["Arrived"] = field(default_factory=list)

    def order(self, path: str, status: int = 200, body: Any = None, **headers: str) -> None:
        """From now on ``path`` answers this; a body that is no text goes out as JSON."""
        text = body if isinstance(body, str) else json.dumps(body or {})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, text, {"content-type": "application/json", **named})

    def take(self) -> list["Arrived"]:
        """What has arrived since the last call."""
        arrived, self.requests = self.requests, []
        return arrived

    async def show_page(self, request: Request) -> Response:
        return HTMLResponse(PAGE.format(body=""))

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        if request.method == "OPTIONS":
            return Response(headers=OPEN)
        self.requests.append(Arrived(request.method, path, dict(request.headers), await request.body()))
        while path in self.held:  # noqa: ASYNC110  # another thread takes it out
            await asyncio.sleep(0.01)
        status, text, headers = self.answers.get(path, (200, "{}", {"content-type": "application/json"}))
        return Response(text, status_code=status, headers={**OPEN, **headers})


@dataclass(frozen=True, slots=True)
class Arrived:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def site() -> Iterator[Site]:
    """On a free port of 127.0.0.1."""
    there = Site()
    rest = Route("/{path:path}", there.answer, methods=["GET", "POST", "PUT", "OPTIONS"])
    with serve(Starlette(routes=[*build_kit_routes(), Route("/", there.show_page), rest])) as url:
        there.url = url
        yield there


async def open_kit(page: Page, url: str, body: str = "") -> None:
    """A page at ``url`` with the kit as ``kit``, and ``body`` in it."""
    await page.goto(f"{url}/")
    await page.set_content(PAGE.format(body=body))
    await page.evaluate("async (path) => { globalThis.kit = await import(path); }", kit_path(SCRIPT))
