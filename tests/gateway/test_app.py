"""The app by itself: what no client can see of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write
from tests.gateway.wire.test_answers import Sent
from tests.support.issuer import Issuer


async def test_what_ends_in_the_last_turn_is_counted_before_anybody_is_told_of_the_end(tmp_path: Path) -> None:
    """A worker's last slip, from which its successor goes on counting, has all of its requests."""
    (tmp_path / "jwks.json").write_text(json.dumps(Issuer(issuer="https://login.example.com").jwks()))
    text = SMALLEST.replace(
        'jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{tmp_path}/jwks.json"'
    )
    gateway = Gateway(load_settings(write(tmp_path, text)))
    told: list[str] = []
    gateway.on_stopped = lambda: told.append(repr(gateway.read_metrics()))
    close, sent = gateway._client.aclose, Sent()

    async def close_late() -> None:
        """The last that is waited for: a request ends in the turn that goes on with the end."""
        await close()
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/chatkit", "raw_path": b"/chatkit"}
        await gateway({**scope, "query_string": b"", "headers": [], "http_version": "1.1"}, asyncio.Future, sent)

    gateway._client.aclose = close_late  # type: ignore[method-assign]  # nothing else ends so late
    async with gateway._lifespan(None):
        pass

    assert sent[0]["status"] == 405
    assert ["method_not_allowed" in text for text in told] == [True]
