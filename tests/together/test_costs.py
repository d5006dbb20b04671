"""What an event and a stream cost, counted and not timed: a slow path cannot come back unseen.

The limits leave room for a line or two more, and none for a task, a queue or a second write per event.
"""

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import gateway
from gateway.metrics.counters import Counters
from gateway.wire import turns
from tests.support.scripted import Exchange, json_answer
from tests.together.test_streams import CREATE, LIST, PROGRESS, edge, until

GATEWAY = str(Path(gateway.__file__).parent)


class Counted:
    """Calls of the gateway's own functions, in whatever threads begin while it counts."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(GATEWAY):
            self.calls[frame.f_code.co_qualname] += 1


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    threading.setprofile(counted)
    try:
        yield counted
    finally:
        threading.setprofile(None)


class Paced:
    """A backend that sends the next event when the client has seen the one before."""

    def __init__(self) -> None:
        self.seen = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.start_stream()
        chunk = b"%x\r\n%b\r\n" % (len(PROGRESS), PROGRESS)
        while True:
            exchange.writer.write(chunk)
            await asyncio.wait_for(self.seen.acquire(), 10)


async def test_an_event_costs_a_dozen_calls_and_wakes_no_task(tmp_path: Path) -> None:
    """From the backend's socket to the client's in one callback; nothing is made that stays."""
    script, events = Paced(), 300
    with counting() as counted:
        async with edge(tmp_path, script) as (_, page), page.stream(CREATE) as answer:
            pieces = answer.aiter_raw()
            for number in range(3 * events):
                assert await anext(pieces) == PROGRESS
                if number == events:
                    before, blocks = counted.calls.copy(), sys.getallocatedblocks()
                script.seen.release()
            during = counted.calls - before
            kept = sys.getallocatedblocks() - blocks

    per_event = {name: calls / (2 * events) for name, calls in during.items() if calls > events / 2}
    assert sum(per_event.values()) <= 12, per_event
    assert "ClientProtocol._answer" not in per_event
    assert kept < events


async def test_an_event_is_one_read_and_one_write(tmp_path: Path) -> None:
    """System calls of the gateway's process, all of its streams together."""
    script, events = Paced(), 300
    async with edge(tmp_path, script) as (_, page), page.stream(CREATE) as answer:
        pieces = answer.aiter_raw()
        for number in range(2 * events):
            if number == events:
                before = calls_of_this_process()
            await anext(pieces)
            script.seen.release()
        reads, writes = (now - then for now, then in zip(calls_of_this_process(), before, strict=True))

    # The test's own client and backend use other system calls (recv and send), which are not counted here.
    assert max(reads, writes) <= 1.2 * events, (reads, writes)


async def test_a_stream_is_one_task(tmp_path: Path) -> None:
    """Watching the client, time limits and heartbeats need none of their own."""
    script = Paced()
    async with edge(tmp_path, script) as (_, page):
        before = open_tasks()
        answers = [await page.client.send(page.request(CREATE), stream=True) for _ in range(20)]
        await until(lambda: sum(open_tasks().values()) - sum(before.values()) >= 20)
        during = open_tasks() - before
        for answer in answers:
            await answer.aclose()
        left = await until(lambda: not open_tasks() - before)

    assert (during, left) == (Counter({"ClientProtocol._answer": 20}), True)


@pytest.mark.parametrize("request_body", [LIST, CREATE, b"{"], ids=["json", "stream", "refused"])
async def test_a_request_leaves_nothing_for_the_collector(tmp_path: Path, request_body: bytes) -> None:
    """What it made is freed with its last step. Cycles would pile up by thousands, and cost more than the request."""
    count = 50

    async def script(exchange: Exchange) -> None:
        if request_body == CREATE:
            await exchange.start_stream()
            await exchange.send_chunk(PROGRESS)
            await exchange.send_chunk(b"")
        else:
            await json_answer()(exchange)

    async with edge(tmp_path, script) as (_, page):

        async def ask(times: int) -> None:
            for _ in range(times):
                assert (await page.client.send(page.request(request_body))).status_code in (200, 400)

        await ask(5)
        gc.collect()
        gc.disable()
        try:
            before = things()
            await ask(count)
            left = things() - before
        finally:
            gc.enable()

    assert max(left.values(), default=0) < count / 5, left


async def test_a_request_is_told_of_while_the_next_ones_backend_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting and logging it takes as long as a signature: neither its own client waits for that, nor the next."""
    told: list[str] = []
    monkeypatch.setattr(turns, "PATIENCE", 3600.0)
    monkeypatch.setattr(Counters, "note", lambda _self, record, _ended, _by: told.append(record.request_id))
    in_time: list[bool] = []

    async def script(exchange: Exchange) -> None:
        in_time.append(await until(lambda: len(told) == len(in_time)))
        await json_answer()(exchange)

    async with edge(tmp_path, script) as (_, page):
        for _ in range(3):
            assert (await page.client.send(page.request(LIST))).status_code == 200

    assert in_time == [True] * 3


def things() -> Counter[str]:
    """Objects in memory whose classes are the gateway's own."""
    kinds = [type(thing) for thing in gc.get_objects()]
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("gateway."))


def calls_of_this_process() -> tuple[int, int]:
    """Reads and writes so far, as Linux counts them."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{os.getpid()}/io").read_text().splitlines())
    return int(fields["syscr"]), int(fields["syscw"])


def open_tasks() -> Counter[str]:
    """Unfinished tasks of the gateway's code in all loops of this process, by what they run."""
    tasks = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task) and not thing.done()]
    codes = [getattr(task.get_coro(), "cr_code", None) for task in tasks]
    return Counter(code.co_qualname for code in codes if code is not None and code.co_filename.startswith(GATEWAY))
