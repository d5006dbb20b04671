"""Does a stream come through what stands in front? A running gateway, and proxies that pass on or hold back."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.check import check
from gateway.check.stream import HELD, judge_arrivals
from gateway.pace import EVENTS, INTERVAL
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write
from tests.support.running import running_gateway
from tests.support.servers import serve

Pass = Callable[[httpx.Response], Response]


def at_once(answer: httpx.Response) -> Response:
    return StreamingResponse(answer.aiter_raw(), answer.status_code, media_type="text/event-stream")


def when_it_is_all_there(answer: httpx.Response) -> Response:
    async def whole() -> AsyncIterator[bytes]:
        yield await answer.aread()

    return StreamingResponse(whole(), answer.status_code, media_type="text/event-stream")


def half_of_it(answer: httpx.Response) -> Response:
    async def some() -> AsyncIterator[bytes]:
        count = 0
        async for piece in answer.aiter_raw():
            count += piece.count(b"\n\n")
            yield piece
            if count >= 3:
                return

    return StreamingResponse(some(), answer.status_code, media_type="text/event-stream")


def page(answer: httpx.Response) -> Response:
    return Response("<html>", 200, media_type="text/html")


def elsewhere(answer: httpx.Response) -> Response:
    return RedirectResponse("https://chat.example.com/chatkit/")


@contextmanager
def proxy(target: str, how: Pass) -> Iterator[str]:
    """Something in front of ``target``."""

    async def forward(request: Request) -> Response:
        client = httpx.AsyncClient()
        asked = client.build_request("POST", f"{target}{request.url.path}?{request.url.query}", content=b"")
        answer = await client.send(asked, stream=True)
        response = how(answer)

        async def close() -> None:
            await answer.aclose()
            await client.aclose()

        response.background = BackgroundTask(close)
        return response

    with serve(Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])) as url:
        yield url


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (at_once, None),
        (when_it_is_all_there, "something in front buffers; nginx: proxy_buffering off"),
        (half_of_it, f"broke off after 3 of {EVENTS} events"),
        (page, "answered 200 'text/html' instead of the gateway's paced stream"),
        (elsewhere, "redirected to 'https://chat.example.com/chatkit/'"),
    ],
)
def test_what_a_proxy_makes_of_a_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: Pass, said: str | None
) -> None:
    """Passed on event by event it is good; else what happened to it, and what to set where."""
    (tmp_path / "jwks.json").write_text("{}")
    text = SMALLEST.replace("port = 8080", "port = 0\ndrain_delay = 0")
    text = text.replace(
        'jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{tmp_path}/jwks.json"'
    )
    settings = load_settings(write(tmp_path, SMALLEST))
    with running_gateway(tmp_path, text) as gateway, proxy(gateway, how) as url:
        code = check(settings, through=f"{url}/chatkit", offline=True)
    line = next(line for line in capsys.readouterr().out.splitlines() if "stream through" in line)

    assert (code, line[:4]) == ((0, "ok  ") if said is None else (1, "FAIL"))
    assert (said or f"{EVENTS} events") in line


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line like the others."""
    settings = load_settings(write(tmp_path, SMALLEST))

    assert check(settings, through="http://127.0.0.1:1/chatkit", offline=True) == 1
    assert "is it the address that browsers use" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("delays", "outcome"),
    [
        ([0.0] * EVENTS, "ok"),
        ([5.0] * EVENTS, "ok"),  # far away, or another clock
        ([*[0.0] * (EVENTS - 1), HELD - 0.01], "ok"),
        ([*[0.0] * (EVENTS - 1), HELD], "failure"),
        ([INTERVAL * (EVENTS - 1 - number) for number in range(EVENTS)], "failure"),  # all at the end
        ([0.0] * (EVENTS - 1), "failure"),
    ],
)
def test_what_arrivals_tell(delays: list[float], outcome: str) -> None:
    """Only how late an event is beside the others."""
    arrivals = [(number * INTERVAL, 100 + number * INTERVAL + late) for number, late in enumerate(delays)]

    assert judge_arrivals("stream", arrivals).outcome == outcome
