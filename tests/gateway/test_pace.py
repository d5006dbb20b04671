"""A paced stream without a backend, behind a real socket."""

import asyncio
import json
from pathlib import Path

import httpx

from gateway.pace import EVENTS, MAX_AT_ONCE, QUERY, Pace
from gateway.wire.asgi import Message, Receive, Scope, Send
from tests.gateway.settings.files import SMALLEST
from tests.support.running import running_gateway

ASKED = QUERY.decode()


def settings_text(folder: Path) -> str:
    keys = f'jwks_file = "{folder / "jwks.json"}"'
    text = SMALLEST.replace('jwks_url = "https://login.example.com/.well-known/jwks.json"', keys)
    return text.replace("port = 8080", "port = 0\ndrain_delay = 0")


def test_anybody_gets_it_and_it_says_nothing(tmp_path: Path) -> None:
    """At the path of a route, as the event stream that a backend's would be; numbers and times are all there is."""
    with running_gateway(tmp_path, settings_text(tmp_path)) as url:
        answer = httpx.post(f"{url}/chatkit?{ASKED}")
        others = [
            httpx.post(f"{url}/chatkit?{ASKED}&a=b").status_code,
            httpx.get(f"{url}/chatkit?{ASKED}").status_code,
            httpx.post(f"{url}/livez?{ASKED}").status_code,
        ]
    events = [json.loads(frame.removeprefix("data: ")) for frame in answer.text.split("\n\n") if frame]

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert [(event.pop("event"), event.pop("of"), list(event)) for event in events] == [
        (number + 1, EVENTS, ["at"]) for number in range(EVENTS)
    ]
    assert others == [401, 405, 405]


async def test_only_a_few_at_once() -> None:
    """Beyond them the query means nothing, and the request goes where any other goes."""
    reached = 0
    released = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal reached
        reached += 1

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("the client stays")

    async def send(message: Message) -> None:
        await released.wait()

    pace = Pace(app, interval=0.0)
    scope = {"type": "http", "method": "POST", "query_string": QUERY}

    async def ask() -> None:
        await pace({**scope}, receive, send)

    asked = [asyncio.create_task(ask()) for _ in range(MAX_AT_ONCE + 2)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert reached == 2

    released.set()
    await asyncio.gather(*asked)
    reached = 0
    await ask()

    assert reached == 0
