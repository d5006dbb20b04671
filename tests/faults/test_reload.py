"""SIGHUP: new settings from the next request on, or the old ones and the reason; nobody's stream notices."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.backend import Visit, listening
from tests.faults.client import connect
from tests.faults.operating import EVENT, Load, log_lines, open_streams, said, scripted
from tests.faults.process import GatewayProcess, reserved_port, serving
from tests.support.issuer import Issuer, signing_key

ALLOW_LISTS = '[routes.support]\noperations = ["threads.list"]'


def edit(folder: Path, change: Callable[[str], str]) -> None:
    """Change the settings file, as an editor does."""
    path = folder / "gateway.toml"
    new = change(path.read_text())
    assert new != path.read_text()
    path.write_text(new)


async def ask(gateway: GatewayProcess, operation: str = "threads.list") -> tuple[int, str]:
    """Status, and who answered or the error's code."""
    async with connect(gateway.port) as client:
        answer = await client.ask(gateway.request("json", operation=operation))
    body = answer.json()
    return answer.status, body.get("from") or body["code"]


async def test_new_settings_under_load(tmp_path: Path) -> None:
    """Another backend, fewer operations: from the next request on, without one lost; the streams end where they
    began."""
    with serving(tmp_path) as gateway, reserved_port() as port:
        async with (
            scripted(gateway.backend_port, "old") as (old, _),
            scripted(port, "new"),
            Load(gateway) as load,
            open_streams(gateway, 20) as clients,
        ):
            edit(tmp_path, lambda text: text.replace(f":{gateway.backend_port}/", f":{port}/"))
            edit(tmp_path, lambda text: text.replace("[routes.support]", ALLOW_LISTS))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            after = [await ask(gateway), await ask(gateway, "threads.delete")]
            old.finish.set()
            streams = [await client.read_chunks() for client in clients]

    assert after == [(200, "new"), (403, "operation_forbidden")]
    assert streams == [((EVENT, EVENT), True)] * 20
    assert (load.faults, set(load.answers)) == ([], {"old", "new"})


async def test_what_stays_the_same_keeps_its_connections(tmp_path: Path) -> None:
    """A reload for one route costs the others nothing: same socket to the backend, same keys."""
    with serving(tmp_path, backend="keep_alive = 60") as gateway:
        async with scripted(gateway.backend_port, "same") as (_, backend):
            assert await ask(gateway) == (200, "same")
            edit(tmp_path, lambda text: text.replace("[routes.support]", "[routes.support]\nmax_depth = 10"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            assert await ask(gateway) == (200, "same")
            connections = backend.connections

    assert connections == 1
    assert len(log_lines(gateway.log, "keys changed")) == 1


async def test_a_new_issuer_is_asked_for_its_keys_once(tmp_path: Path) -> None:
    """Before it counts, and not again for having become one of those whose keys are kept fresh."""
    document = json.dumps(Issuer(keys=[signing_key("ES256", kid="new")]).jwks()).encode()
    asked: list[bytes] = []

    async def publish(visit: Visit) -> None:
        asked.append(visit.head)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(document)
        visit.write(head + document)

    with serving(tmp_path) as gateway, reserved_port() as port:
        async with scripted(gateway.backend_port, "same"), listening(port, publish):
            table = f'issuer = "https://new.test"\naudiences = ["a"]\njwks_url = "http://127.0.0.1:{port}/jwks"'
            edit(tmp_path, lambda text: text.replace("[issuers.main]", f"[issuers.new]\n{table}\n[issuers.main]"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            answers = [await ask(gateway) for _ in range(20)]

    assert (len(asked), set(answers)) == (1, {(200, "same")})


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[routes.support]", "[routes.support", "not TOML"),
        ("[routes.support]", "[routes.support]\nspeed = 11", "routes.support.speed: unknown setting"),
        ('backend = "support"', 'backend = "sales"', "sales"),
        ("[issuers.main]", '[trust]\nsigning_keys = ["missing.pem"]\n[issuers.main]', "missing.pem"),
        (
            "[issuers.main]",
            '[issuers.new]\nissuer = "https://new.test"\naudiences = ["a"]\njwks_file = "none.json"\n[issuers.main]',
            "none.json",
        ),
    ],
)
async def test_settings_that_do_not_check_change_nothing(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """Everything goes on as it was, and the log says why; corrected, the next signal takes."""
    with serving(tmp_path) as gateway:
        async with scripted(gateway.backend_port, "same"), Load(gateway, clients=2) as load:
            edit(tmp_path, lambda text: text.replace(old, new, 1))
            gateway.process.send_signal(signal.SIGHUP)
            line = await said(gateway, "settings not reloaded")
            assert await ask(gateway) == (200, "same")
            edit(tmp_path, lambda text: text.replace(new, old, 1))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")

    assert problem in " ".join(line["problems"])
    assert load.faults == []


async def test_what_only_a_restart_changes_is_named(tmp_path: Path) -> None:
    """The rest is taken all the same."""
    with serving(tmp_path, server="backlog = 100") as gateway:
        async with scripted(gateway.backend_port, "same"):
            edit(tmp_path, lambda text: text.replace("backlog = 100", "backlog = 200\ntls_check = 5\nmax_headers = 10"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            line = await said(gateway, "settings need a restart")
            async with connect(gateway.port) as client:
                many = b"".join(b"x-%d: 1\r\n" % number for number in range(11))
                refused = await client.ask(b"GET /livez HTTP/1.1\r\nhost: a\r\n" + many + b"\r\n")

    assert (line["settings"], refused.status) == (["server.backlog", "server.tls_check"], 431)


async def test_two_signals_at_once_end_with_the_last_file(tmp_path: Path) -> None:
    """A configuration tool that sends one per file it writes."""
    with serving(tmp_path) as gateway:
        async with scripted(gateway.backend_port, "same"):
            for number in range(20):
                edit(tmp_path, lambda text: f"{text}# {number}\n")  # noqa: B023  # called at once
                gateway.process.send_signal(signal.SIGHUP)
            edit(tmp_path, lambda text: text.replace("[routes.support]", ALLOW_LISTS))
            gateway.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while await ask(gateway, "threads.delete") != (403, "operation_forbidden"):  # noqa: ASYNC110  # only asking tells
                    await asyncio.sleep(0.05)
            assert await ask(gateway) == (200, "same")
