"""Limits at the running gateway: each side of the edge, in the form that the protocol wants."""

import json
from pathlib import Path

from tests.support.scripted import Exchange, json_answer
from tests.together.test_streams import CREATE, LIST, PROGRESS, Speaking, edge, until


async def answer_at_once(exchange: Exchange) -> None:
    """One event, or an empty list for an operation that wants JSON."""
    if b"threads.list" in exchange.body:
        await json_answer(b'{"data":[],"has_more":false}')(exchange)
        return
    await exchange.start_stream()
    await exchange.send_chunk(PROGRESS)
    await exchange.send_chunk(b"")


async def test_a_message_too_many_is_an_event_that_says_when(tmp_path: Path) -> None:
    """ChatKit shows an event's message and a Retry button; a 429 on a stream it would show as a failure."""
    async with edge(tmp_path, answer_at_once, limits="limits = {answers_per_minute = 1}") as (backend, page):
        good, refused = [await page.post(CREATE) for _ in range(2)]
        others = await page.client.post(page.url, content=CREATE, headers=page.of("bob"))
        read = await page.post(LIST)

    last = json.loads(refused.content.removeprefix(b"data: "))
    assert (refused.status_code, refused.headers["content-type"]) == (200, "text/event-stream")
    assert (last["type"], last["allow_retry"]) == ("error", True)
    assert last["message"].startswith("You are sending requests faster than is allowed here. Try again in 60 seconds.")
    assert [good.content, others.content, read.status_code] == [PROGRESS, PROGRESS, 200]
    assert len(backend.exchanges) == 3


async def test_a_request_too_many_is_429_with_the_seconds(tmp_path: Path) -> None:
    """An operation that is answered in JSON gets a status, a header and a sentence."""
    async with edge(tmp_path, answer_at_once, limits="limits = {reads_per_minute = 1}") as (backend, page):
        good, refused = [await page.post(LIST) for _ in range(2)]

    problem = refused.json()
    assert (good.status_code, refused.status_code, refused.headers["retry-after"]) == (200, 429, "60")
    assert problem["code"] == "rate_limited"
    assert problem["message"].endswith("Try again in 60 seconds.")
    assert len(backend.exchanges) == 1


async def test_open_streams_have_an_edge_and_each_that_ends_makes_room(tmp_path: Path) -> None:
    """Two at once; the third is refused without a word to the backend, and goes when one of the two has been left."""
    async with edge(tmp_path, Speaking(0.01), limits="limits = {open_streams = 2}") as (backend, page):
        async with page.stream(CREATE) as first:
            of_first = first.aiter_raw()  # held: a generator that is dropped closes its stream
            await anext(of_first)
            async with page.stream(CREATE) as second:
                of_second = second.aiter_raw()
                await anext(of_second)
                refused = await page.post(CREATE)
                asked = len(backend.exchanges)
        await until(lambda: backend.open == 0)
        async with page.stream(CREATE) as third:
            piece = await anext(third.aiter_raw())

    assert (asked, piece) == (2, PROGRESS)
    assert b"Too many of your answers are being given at the same time. Try again in 5 seconds." in refused.content


async def test_the_process_has_its_own_cap(tmp_path: Path) -> None:
    """Of all users together."""
    async with edge(tmp_path, Speaking(0.01), server="max_streams = 1") as (backend, page):
        async with page.stream(CREATE) as first:
            of_first = first.aiter_raw()  # held: a generator that is dropped closes its stream
            await anext(of_first)
            refused = await page.client.post(page.url, content=CREATE, headers=page.of("bob"))
        await until(lambda: backend.open == 0)

    assert b"The service is answering as many people as it can right now. Try again in 5 seconds." in refused.content
    assert len(backend.exchanges) == 1


async def test_a_stream_that_gets_no_place_costs_nothing_of_the_rate(tmp_path: Path) -> None:
    """Whoever tries again and again while another answer is given may send a message when that has ended."""
    limits = "limits = {open_streams = 1, answers_per_minute = 3}"
    async with edge(tmp_path, Speaking(0.01), limits=limits) as (backend, page):
        async with page.stream(CREATE) as first:
            of_first = first.aiter_raw()  # held: a generator that is dropped closes its stream
            await anext(of_first)
            for _ in range(5):
                await page.post(CREATE)
        await until(lambda: backend.open == 0)
        async with page.stream(CREATE) as second:
            piece = await anext(second.aiter_raw())

    assert piece == PROGRESS
