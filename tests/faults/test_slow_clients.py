"""A client that does not read holds up its own backend and nobody else, and not for ever."""

import asyncio
import re
import socket
from collections import Counter
from pathlib import Path

from gateway.errors import BackendInterrupted
from tests.faults.backend import Visit, happened, listening, until, until_still
from tests.faults.client import connect
from tests.faults.crowd import each
from tests.faults.process import NOTHING, running
from tests.faults.recording import error_event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"type":"progress_update","text":"%s"}\n\n' % (b"a" * 1000)
ONE = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
MANY = b"%x\r\n%s\r\n" % (100 * len(EVENT), 100 * EVENT)
MEGABYTE = 1024 * 1024


async def test_a_client_that_does_not_read_holds_up_its_backend_alone(tmp_path: Path) -> None:
    """Backends that would send for ever come to a halt, the gateway's memory stays, others are served meanwhile.

    When the client reads again, it gets every byte.
    """
    poured: Counter[str] = Counter()
    enough = asyncio.Event()

    async def script(visit: Visit) -> None:
        visit.write(HEAD)
        while visit.case.startswith("slow") and not enough.is_set():
            await visit.pour(MANY)
            poured[visit.case] += 100
        visit.write(ONE + b"0\r\n\r\n")

    with running(tmp_path, backend="keep_alive = 0.2", server="write_timeout = 60") as gateway:
        async with (
            listening(gateway.backend_port, script),
            connect(gateway.port, receive_buffer=4096) as first,
            connect(gateway.port, receive_buffer=4096) as second,
        ):
            before = gateway.memory().bytes
            for name, client in (("slow-1", first), ("slow-2", second)):
                client.write(gateway.request(name))
                await client.read_head()
            assert await until_still(poured.total)
            assert gateway.memory().bytes - before < 16 * MEGABYTE

            others = await each(gateway, range(500))
            assert {answer.body for answer in others.values()} == {EVENT}

            sent = dict(poured)
            enough.set()
            sock = first.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEGABYTE)
            chunks, is_whole = await first.read_chunks()
            is_all = b"".join(chunks) == EVENT * (poured["slow-1"] + 1)
            assert (is_whole, is_all, poured["slow-2"]) == (True, True, sent["slow-2"])
        assert await gateway.held() == NOTHING


async def test_what_came_before_a_death_reaches_a_slow_client(tmp_path: Path) -> None:
    """Every event, then the word about the death: also those that waited in the gateway when it came."""
    events = 0
    dead = asyncio.Event()

    with running(tmp_path, backend="keep_alive = 0.2", server="write_timeout = 60") as gateway:
        async with connect(gateway.port, receive_buffer=4096) as client:
            port = client.writer.get_extra_info("sockname")[1]

            def count_in_gateway() -> int:
                return events * len(EVENT) - count_queued(gateway.port, port)

            async def script(visit: Visit) -> None:
                nonlocal events
                # The kernel's buffer towards the client takes two to three million bytes, the server's then 64 KB, the
                # relay's as much again, behind the piece in its hand: the death is to come when that is half full.
                visit.write(HEAD + MANY * 18)
                events += 1800
                # A kernel that is short of memory takes less: then it is full already.
                await until(lambda: count_in_gateway() < 50_000, 5)
                while count_in_gateway() < 140_000:
                    visit.write(ONE * 16)
                    events += 16
                    await asyncio.sleep(0.002)
                visit.end()
                dead.set()

            async with listening(gateway.backend_port, script):
                client.write(gateway.request())
                await happened(dead)
                await asyncio.sleep(0.1)
                sock = client.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEGABYTE)
                answer = await client.read_answer()

        is_all = answer.body == EVENT * events + error_event(BackendInterrupted, answer.request_id)
        assert (answer.whole, is_all) == (True, True)
        assert await gateway.held() == NOTHING


def count_queued(port: int, peer: int) -> int:
    """Bytes in the kernel's queue of the connection from ``port`` to ``peer``, both on 127.0.0.1."""
    table = Path("/proc/net/tcp").read_text()
    match = re.search(rf" 0100007F:{port:04X} 0100007F:{peer:04X} 01 ([0-9A-F]+):", table)
    assert match is not None
    return int(match[1], 16)


async def test_a_client_that_reads_no_more_is_cut_and_its_backend_let_go(tmp_path: Path) -> None:
    """After write_timeout, while the client is still there: for what ends with a cut nobody can take the whole."""

    async def script(visit: Visit) -> None:
        visit.write(HEAD)
        while True:
            await visit.pour(MANY)

    with running(tmp_path, backend="keep_alive = 0.2", server="write_timeout = 1") as gateway:
        async with (
            listening(gateway.backend_port, script) as backend,
            connect(gateway.port, receive_buffer=4096) as client,
        ):
            client.write(gateway.request())
            await client.read_head()
            assert await until(lambda: backend.open == 0)
            assert await gateway.held() == NOTHING
            assert (await client.read_chunks())[1] is False
