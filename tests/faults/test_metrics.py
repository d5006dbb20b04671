"""What a gateway counts, as Prometheus reads it: of one process and of several, over reloads, deaths and the end."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.backend import until
from tests.faults.client import connect
from tests.faults.operating import log_lines, open_streams, said, scripted
from tests.faults.process import serving
from tests.faults.test_reload import edit
from tests.faults.test_workers import workers_of
from tests.faults.watched import ask, make_traffic, settled, watched
from tests.support.scrape import scrape

COUNTED = "gateway_requests_total"


async def test_every_kind_of_request_is_counted_where_it_belongs(tmp_path: Path) -> None:
    """By route, operation, outcome and who ended it; times only of what the backend answered; no user's path shows
    any of it."""
    with watched(tmp_path) as (gateway, metrics):
        async with scripted(gateway.backend_port, "same") as (script, _):
            await make_traffic(gateway, script, metrics)
            hidden = await ask(gateway, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            found = scrape(metrics)

    requests = {tuple(labels.values()) for labels in found.labels_of(COUNTED)}
    assert {tuple(sorted(labels)) for labels in found.labels_of(COUNTED)} == {
        ("code", "ended_by", "operation", "route", "status")
    }
    assert requests == {
        ("-", "complete", "threads.list", "support", "2xx"),
        ("-", "complete", "threads.list", "tight", "2xx"),
        ("-", "complete", "threads.create", "support", "2xx"),
        ("client_disconnected", "client", "threads.create", "support", "2xx"),
        ("route_not_found", "gateway", "-", "-", "4xx"),
        ("credential_missing", "gateway", "-", "support", "4xx"),
        ("rate_limited", "limit", "threads.list", "tight", "4xx"),
    }
    assert hidden.status == 404
    assert found.value(COUNTED) == 8
    assert found.value("gateway_streams_total", ended_by="client") == 1
    assert found.value("gateway_streams_total") == 2
    assert found.value("gateway_limited_total", route="tight", limit="rate_limited") == 1
    assert found.value("gateway_stream_duration_seconds_count", route="support") == 2
    assert found.value("gateway_request_duration_seconds_count") == 2
    assert found.value("gateway_first_byte_seconds_count") == 4
    assert found.value("gateway_event_gap_seconds_count", route="support") == 1
    assert found.value("gateway_verifications_total", result="verified") == 1
    assert found.value("gateway_verifications_total", result="remembered") == 4
    assert found.value("gateway_remembered_tokens") == 1
    assert found.value("gateway_key_fetches_total", issuer="main", result="taken") == 1
    assert found.value("gateway_keys_usable", issuer="main") == 1
    assert found.value("gateway_backend_connections", backend="support", state="idle") >= 1
    assert (found.value("gateway_open_streams"), found.value("gateway_workers")) == (0, 1)


async def test_what_is_no_request_is_counted(tmp_path: Path) -> None:
    """What the server refuses by itself: by its code, like what the gateway refuses."""
    with watched(tmp_path) as (gateway, metrics):
        statuses = [
            (await ask(gateway, data)).status
            for data in (b"rubbish\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 70_000)
        ]
        found = scrape(metrics)

    assert statuses == [400, 400, 431]
    assert found.value(COUNTED, code="malformed_request", status="4xx", ended_by="gateway", route="-") == 2
    assert found.value(COUNTED, code="headers_too_large") == 1
    assert found.value(COUNTED) == 3


async def test_open_streams_are_seen_while_they_last(tmp_path: Path) -> None:
    """And so are the exchanges that carry them."""
    with watched(tmp_path) as (gateway, metrics):
        async with scripted(gateway.backend_port, "same"):
            async with open_streams(gateway, 7):
                during = scrape(metrics)
            assert await until(lambda: scrape(metrics).value("gateway_open_streams") == 0)

    assert during.value("gateway_open_streams") == 7
    assert during.value("gateway_backend_exchanges", backend="support") == 7
    assert during.value("gateway_backend_connections", backend="support", state="busy") == 7


async def test_a_reload_keeps_the_counts_and_a_refused_one_is_seen(tmp_path: Path) -> None:
    """Also of an issuer and a backend that the reload changes; the page stays where it is and the log says so."""
    with watched(tmp_path) as (gateway, metrics):
        async with scripted(gateway.backend_port, "same"):
            listing = gateway.request("json", operation="threads.list")
            await ask(gateway, listing)
            edit(tmp_path, lambda text: text.replace("[issuers.main]", "[issuers.main]\ncooldown = 11"))
            edit(tmp_path, lambda text: text.replace("[backends.support]", "[backends.support]\nkeep_alive = 3"))
            edit(tmp_path, lambda text: text.replace(f"port = {metrics}", "port = 1"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            line = await said(gateway, "settings need a restart")
            await ask(gateway, listing)
            after = scrape(metrics)
            edit(tmp_path, lambda text: text.replace("[routes.support]", "[routes.support"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings not reloaded")
            refused = scrape(metrics)

    assert line["settings"] == ["metrics"]
    assert after.value(COUNTED) == 2
    assert after.value("gateway_key_fetches_total", issuer="main", result="taken") >= 2
    assert (after.value("gateway_reloads_total", result="taken"), after.value("gateway_reload_successful")) == (1, 1)
    assert (refused.value("gateway_reloads_total", result="refused"), refused.value("gateway_reload_successful")) == (
        1,
        0,
    )


async def test_workers_add_up_whoever_is_asked(tmp_path: Path) -> None:
    """Each scrape meets some worker, and all of them say the same; none says less than one before."""
    with watched(tmp_path, server="workers = 3") as (gateway, metrics):
        async with scripted(gateway.backend_port, "same") as (script, _):
            listing = gateway.request("json", operation="threads.list")
            said_so_far = 0.0
            for number in range(1, 61):
                await ask(gateway, listing)
                if number % 10 == 0:
                    now = scrape(metrics).value(COUNTED)
                    assert now >= said_so_far
                    said_so_far = now
            await settled(metrics, 60)
            totals = {scrape(metrics).value(COUNTED) for _ in range(20)}
            async with open_streams(gateway, 9):
                assert await until(lambda: scrape(metrics).value("gateway_open_streams") == 9)
            script.finish.set()

    assert totals == {60}


async def test_who_replaces_a_dead_worker_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """What a worker has told counts for ever, its streams end with it; its successor goes on from its counts, and so
    does the successor's."""
    with watched(tmp_path, server="workers = 2") as (gateway, metrics):
        async with scripted(gateway.backend_port, "same"):
            listing = gateway.request("json", operation="threads.list")
            for generation in (1, 2):
                for _ in range(30):
                    await ask(gateway, listing)
                told = await settled(metrics, 30 * generation)
                cpu = told.value("process_cpu_seconds_total")
                for pid in workers_of(gateway):
                    os.kill(pid, signal.SIGKILL)
                await said(gateway, "worker died, and is replaced", 2 * generation)
                assert await until(lambda: len(workers_of(gateway)) == 2)
                async with connect(gateway.port) as client:
                    await client.ask(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
                assert scrape(metrics).value(COUNTED, route="support") == 30 * generation
                assert scrape(metrics).value("process_cpu_seconds_total") >= cpu
            assert await until(lambda: scrape(metrics).value("gateway_workers") == 2)


async def test_settings_that_no_worker_heard_of_are_seen_as_refused(tmp_path: Path) -> None:
    """The watcher reads them first, and says so on every worker's page; corrected, all is well again."""
    with watched(tmp_path, server="workers = 2") as (gateway, metrics):
        edit(tmp_path, lambda text: text.replace("[routes.support]", "[routes.support"))
        gateway.process.send_signal(signal.SIGHUP)
        await said(gateway, "settings not reloaded")
        assert await until(lambda: scrape(metrics).value("gateway_reload_successful") == 0)
        refused = scrape(metrics)
        edit(tmp_path, lambda text: text.replace("[routes.support", "[routes.support]"))
        gateway.process.send_signal(signal.SIGHUP)
        assert await until(lambda: scrape(metrics).value("gateway_reloads_total", result="taken") == 2)
        taken = scrape(metrics)

    assert refused.value("gateway_reloads_total", result="refused") == 1
    assert (taken.value("gateway_reload_successful"), taken.value("gateway_reloads_total", result="refused")) == (1, 1)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_collector_that_stays_connected_does_not_hold_the_end(tmp_path: Path, workers: int) -> None:
    """Its idle connection closes with the rest; the exit code is 0, and the last line has the counts."""
    with watched(tmp_path, server=f"workers = {workers}\ndrain_timeout = 20") as (gateway, metrics):
        async with connect(metrics) as collector:
            answer = await collector.ask(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            gateway.process.send_signal(signal.SIGTERM)
            await collector.gone()
            assert await until(lambda: gateway.process.poll() is not None)
        stopped = log_lines(gateway.log, "stopped")

    assert (answer.status, gateway.process.returncode) == (200, 0)
    assert len(stopped) == workers
    assert all("ended" in line for line in stopped)


def test_a_port_that_is_taken_is_said_at_the_start(tmp_path: Path) -> None:
    """Before anything serves, with the setting to change."""
    with watched(tmp_path) as (_, metrics):
        second = tmp_path / "second"
        second.mkdir()
        refused = pytest.raises(AssertionError, match=rf"127\.0\.0\.1:{metrics}.*metrics\.port")
        with refused, serving(second, server=f"[metrics]\nport = {metrics}"):
            pass
