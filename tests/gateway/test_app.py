"""The app by itself: what no client can see of it."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.settings import Settings, load_settings
from tests.gateway.settings.files import SMALLEST, write
from tests.gateway.wire.test_answers import Sent
from tests.support.issuer import Issuer


def settings_in(folder: Path, more: str = "") -> Settings:
    """The smallest, with keys from a file."""
    (folder / "jwks.json").write_text(json.dumps(Issuer(issuer="https://login.example.com").jwks()))
    text = SMALLEST.replace(
        'jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{folder}/jwks.json"'
    )
    return load_settings(write(folder, text + more))


async def ask(gateway: Gateway, path: str, sent: Sent) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    await gateway({**scope, "query_string": b"", "headers": [], "http_version": "1.1"}, asyncio.Future, sent)


async def test_a_request_is_sampled_by_the_settings_that_it_ended_under(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway(settings_in(tmp_path))
    with caplog.at_level(logging.INFO):
        async with gateway._lifespan(None):
            await ask(gateway, "/.well-known/jwks.json", Sent())
            await gateway.reload(settings_in(tmp_path, "\n[log]\nsample_successes = 0\n"))
            await ask(gateway, "/.well-known/jwks.json", Sent())

    assert sum(entry.name == "gateway.access" for entry in caplog.records) == 1


async def test_what_ends_in_the_last_turn_is_counted_before_anybody_is_told_of_the_end(tmp_path: Path) -> None:
    """A worker's last slip, from which its successor goes on counting, has all of its requests."""
    gateway = Gateway(settings_in(tmp_path))
    told: list[str] = []
    gateway.on_stopped = lambda: told.append(repr(gateway.read_metrics()))
    close, sent = gateway._client.aclose, Sent()

    async def close_late() -> None:
        """The last that is waited for: a request ends in the turn that goes on with the end."""
        await close()
        await ask(gateway, "/chatkit", sent)

    gateway._client.aclose = close_late  # type: ignore[method-assign]  # nothing else ends so late
    async with gateway._lifespan(None):
        pass

    assert sent[0]["status"] == 405
    assert ["method_not_allowed" in text for text in told] == [True]
