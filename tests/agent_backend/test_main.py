"""The real process: how it starts, how it stops, and what it says."""

import asyncio
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from agent_backend.__main__ import main
from agent_backend.app import build_app
from agent_backend.store import build_engine
from tests.agent_backend.world import (
    AUDIENCE,
    ISSUER,
    PATH,
    Caller,
    World,
    answer_in,
    events_in,
    running_app,
    thread_of,
    user_input,
)

# Seconds a process may take to start on a busy machine.
START_TIMEOUT = 30.0


def run_main(*arguments: str) -> int:
    """`main`, which sets up the process's logging; here the process is the tests', and gets its own back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return main(arguments)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def write_settings(
    world: World, *, database: str = "", drain_timeout: int = 10, start_timeout: float = 0, **model: object
) -> Path:
    file = world.folder / "agent.toml"
    url = database or f"sqlite:///{world.folder}/agent.sqlite3"
    lines = ["[server]", "port = 0", 'log_format = "json"', f"drain_timeout = {drain_timeout}"]
    lines += ["[database]", f'url = "{url}"', f"start_timeout = {start_timeout}"]
    lines += ["[gateway]", f'jwks_url = "{world.jwks_url}"', f'issuer = "{ISSUER}"', f'audience = "{AUDIENCE}"']
    lines += ["[model]", *(f"{name} = {value}" for name, value in model.items())]
    file.write_text("\n".join(lines))
    return file


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "agent_backend", *map(str, arguments)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_until_ready(backend: subprocess.Popen[str]) -> str:
    """The ready line's URL, without the path."""
    assert backend.stdout is not None
    line = backend.stdout.readline()
    found = re.fullmatch(
        r"agent_backend ready on (http://127\.0\.0\.1:\d+)/chatkit \(model: offline, database: sqlite\)\n", line
    )
    assert found, line
    return found[1]


async def ask(world: World, url: str, *, until: bytes = b"", reached: asyncio.Event | None = None) -> bytes:
    """The whole answer; ``reached`` is set when ``until`` has come."""
    seen = b""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        caller = Caller(gateway=world.gateway, http=http)
        body = caller.body("threads.create", input=user_input("Who am I?"))
        async with http.stream("POST", PATH, content=body, headers=caller.headers(body)) as answer:
            async for chunk in answer.aiter_bytes():
                seen += chunk
                if reached is not None and until in seen:
                    reached.set()
    return seen


async def begin_asking(world: World, url: str, *, until: bytes) -> asyncio.Task[bytes]:
    """An answer under way, of which this has come."""
    reached = asyncio.Event()
    asking = asyncio.create_task(ask(world, url, until=until, reached=reached))
    await asyncio.wait_for(reached.wait(), 20)
    return asking


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_and_ends_with_status_0(world: World, number: signal.Signals) -> None:
    """One line when ready, answers, and a clean stop is 0 for whoever supervises."""
    with process("serve", "--settings", write_settings(world, word_delay=0)) as backend:
        url = await asyncio.to_thread(wait_until_ready, backend)
        answer = answer_in(events_in(await ask(world, url)))
        backend.send_signal(number)

        assert await asyncio.to_thread(backend.wait, 10) == 0
    assert "Alice" in answer


async def test_an_answer_under_way_is_finished(world: World) -> None:
    """SIGTERM waits for it."""
    with process("serve", "--settings", write_settings(world, word_delay=0.03)) as backend:
        url = await asyncio.to_thread(wait_until_ready, backend)
        asking = await begin_asking(world, url, until=b'"delta":"I ')
        backend.send_signal(signal.SIGTERM)
        answer = answer_in(events_in(await asking))

        assert await asyncio.to_thread(backend.wait, 10) == 0
    assert "This is your first message here." in answer


async def test_an_answer_too_long_to_wait_for_is_cut_whole(world: World) -> None:
    """At the end of the drain the client gets an event it can act on, and what was said is kept; still status 0."""
    file = write_settings(world, drain_timeout=1, word_delay=0.3)
    with process("serve", "--settings", file) as backend:
        url = await asyncio.to_thread(wait_until_ready, backend)
        asking = await begin_asking(world, url, until=b'"delta":"the ')
        backend.send_signal(signal.SIGTERM)
        events = events_in(await asking)

        assert await asyncio.to_thread(backend.wait, 10) == 0
    assert events[-1]["type"] == "error"
    assert events[-1]["allow_retry"] is True
    async with running_app(build_app(world.settings())) as http:
        caller = Caller(gateway=world.gateway, http=http)
        shown = await caller.send("items.list", thread_id=thread_of(events))
        # The thread was let go, too: the next process need not wait for its lease to end.
        assert answer_in(await caller.say("Go on.", thread_id=thread_of(events)))
    kept = [item for item in shown.json()["data"] if item["type"] == "assistant_message"]
    assert kept[0]["content"][0]["text"].startswith("I am the ")


async def test_a_second_signal_ends_at_once(world: World) -> None:
    """Whoever asks twice does not want to wait for an answer of an hour."""
    with process("serve", "--settings", write_settings(world, word_delay=5)) as backend:
        url = await asyncio.to_thread(wait_until_ready, backend)
        asking = await begin_asking(world, url, until=b"thread.created")
        backend.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        backend.send_signal(signal.SIGTERM)

        assert await asyncio.to_thread(backend.wait, 10) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 2
        with pytest.raises(httpx.HTTPError):
            await asking


def test_bad_settings_are_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the list of problems, and no traceback."""
    file = tmp_path / "agent.toml"
    file.write_text("[server]\nport = -1\n")

    status = run_main("serve", "--settings", str(file))

    assert status == 2
    assert capsys.readouterr().err.splitlines() == [
        "agent_backend: these settings cannot be used:",
        "  - server.port: Input should be greater than or equal to 0 (a free port from 1 to 65535; 0 picks one)",
        "  - gateway: Field required (write [gateway] with jwks_url, issuer, audience)",
    ]


async def test_postgresql_is_migrated_by_command_only(world: World, postgres_url: str) -> None:
    """`serve` names the command; `migrate` does it; then the schema is known."""
    fresh = postgres_url.replace("/postgres?", "/migrated?")
    await create_database(postgres_url, "migrated")
    file = write_settings(world, database=fresh)

    refused = await asyncio.to_thread(run_main, "serve", "--settings", str(file))
    migrated = await asyncio.to_thread(run_main, "migrate", "--settings", str(file))
    again = await asyncio.to_thread(run_main, "migrate", "--settings", str(file))

    assert (refused, migrated, again) == (1, 0, 0)


@pytest.mark.parametrize("command", ["serve", "migrate"])
async def test_a_database_that_cannot_be_used_is_status_1(
    world: World, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """One line that says so, and no password in it."""
    file = write_settings(world, database="postgresql://u:hunter2@127.0.0.1:1/x")

    status = await asyncio.to_thread(run_main, command, "--settings", str(file))

    error = capsys.readouterr().err
    assert (status, len(error.splitlines())) == (1, 1)
    assert error.startswith("agent_backend: the database cannot be used: ")
    assert "hunter2" not in error


async def create_database(url: str, name: str) -> None:
    engine = build_engine(url)
    async with engine.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await outside.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
