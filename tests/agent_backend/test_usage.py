"""What answers cost: the models' own figures, on the log line and in the database, beside the answer."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from agents import Usage
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.__main__ import parse
from agent_backend.app import build_app
from agent_backend.context import Owner
from agent_backend.store import build_engine
from agent_backend.store.forget import delete_rows
from agent_backend.store.schema import migrate
from agent_backend.store.usage import SqlUsage, Total
from agent_backend.usage import Tokens, UsageCounter, tokens_of
from agent_backend.usage_report import parse_since, report
from tests.agent_backend.world import Caller, World, context_for, running_app, thread_of
from tests.support.model_server import model_server

ALICE, BOB = context_for("alice").owner, context_for("bob").owner
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def ready(engine: AsyncEngine, *, now: datetime = NOON) -> SqlUsage:
    await migrate(engine)
    return SqlUsage(engine=engine, clock=lambda: now)


async def test_answers_add_up_by_user_and_by_thread(engine: AsyncEngine) -> None:
    """The dearest first; the same subject at another issuer is another user."""
    usage = await ready(engine)
    other = Owner(issuer="https://other.test", subject="alice")
    await usage.add(ALICE, "thr_1", Tokens(requests=2, input=100, output=10))
    await usage.add(ALICE, "thr_1", Tokens(requests=1, input=20, output=2, is_partial=True))
    await usage.add(ALICE, "thr_2", Tokens(requests=1, input=1, output=1))
    await usage.add(other, "thr_3", Tokens(requests=1, input=5, output=5))
    await usage.add(ALICE, "thr_2", Tokens(answers=0, requests=1, input=3, output=1, is_partial=True))

    by_user = await usage.totals(by="user")
    by_thread = await usage.totals(by="thread")

    alice = Total(owner=ALICE, thread_id=None, answers=3, partial=1, requests=5, tokens_in=124, tokens_out=14)
    assert by_user == [
        alice,
        Total(owner=other, thread_id=None, answers=1, partial=0, requests=1, tokens_in=5, tokens_out=5),
    ]
    assert [(total.thread_id, total.answers, total.tokens_in) for total in by_thread] == [
        ("thr_1", 2, 120),
        ("thr_3", 1, 5),
        ("thr_2", 1, 4),
    ]


async def test_since_a_day_it_included(engine: AsyncEngine) -> None:
    """Days are UTC's: a minute before midnight elsewhere is the day it is in UTC."""
    await migrate(engine)
    for day in (20, 21, 22):
        await SqlUsage(engine=engine, clock=lambda day=day: datetime(2026, 11, day, 23, 59, tzinfo=UTC)).add(  # type: ignore[misc]
            ALICE, "thr_1", Tokens(input=1)
        )
    usage = SqlUsage(engine=engine)

    assert [total.tokens_in for total in await usage.totals(by="user", since=date(2026, 11, 21))] == [2]
    assert await usage.totals(by="user", since=date(2026, 11, 23)) == []


async def test_two_at_once_are_both_counted(engine: AsyncEngine) -> None:
    """One statement each: none reads what the other is about to change."""
    usage = await ready(engine)
    await asyncio.gather(*(usage.add(ALICE, "thr_1", Tokens(requests=1, input=1, output=1)) for _ in range(20)))

    assert [(total.answers, total.tokens_in) for total in await usage.totals(by="user")] == [(20, 20)]


async def test_an_owners_rows_can_be_forgotten(engine: AsyncEngine) -> None:
    """All of theirs, in every thread and on every day; nobody else's."""
    usage = await ready(engine)
    for owner, thread in ((ALICE, "thr_1"), (ALICE, "thr_2"), (BOB, "thr_3")):
        await usage.add(owner, thread, Tokens(input=1))
    await delete_rows(engine, ALICE)

    assert [total.owner for total in await usage.totals(by="user")] == [BOB]


def test_figures_are_partial_where_some_are_missing() -> None:
    """Cut off, or an endpoint that does not say: the rest is counted, and nothing is made up."""
    told = Usage()
    told.add(Usage(requests=1, input_tokens=5, output_tokens=2, total_tokens=7))
    silent = Usage()
    silent.add(Usage(requests=1))

    assert tokens_of(told, is_whole=True) == Tokens(requests=1, input=5, output=2)
    assert tokens_of(told, is_whole=False) == Tokens(requests=1, input=5, output=2, is_partial=True)
    assert tokens_of(silent, is_whole=True) == Tokens(requests=1, is_partial=True)
    assert tokens_of(Usage(), is_whole=True) == Tokens()


class Store:
    """A database that does what a test says."""

    def __init__(self, add: Callable[[], Any]) -> None:
        self._add = add

    async def add(self, owner: Owner, thread_id: str, tokens: Tokens) -> None:
        await self._add()


async def test_counting_neither_delays_nor_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A database that fails or hangs costs a log line with the figures, and no answer."""

    async def fail() -> None:
        raise OSError("disk full of SECRET")

    async def hang() -> None:
        await asyncio.Event().wait()

    for add, reason in ((fail, "OSError"), (hang, "TimeoutError")):
        context = context_for()
        counter = UsageCounter(store=Store(add), write_timeout=0.01)
        counter.count(context, "thr_1", Tokens(requests=1, input=5, output=2))
        assert context.notes == {"tokens_in": 5, "tokens_out": 2}
        await counter.finish()

        fields: Any = caplog.records[-1].__dict__["fields"]
        assert fields == {
            "request_id": "req-1",
            "user": context.user.digest,
            "thread_id": "thr_1",
            "requests": 1,
            "tokens_in": 5,
            "tokens_out": 2,
            "reason": reason,
        }
    assert "SECRET" not in caplog.text


async def test_writes_under_way_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A database that hangs does not fill the memory."""
    counter = UsageCounter(store=Store(lambda: asyncio.sleep(0.05)), max_pending=2)
    for _ in range(3):
        counter.count(context_for(), "thr_1", Tokens())

    assert repr(counter) == "<UsageCounter 2 of 2 under way>"
    assert [record.message for record in caplog.records] == ["usage not counted"]
    await counter.finish()


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_an_answer_is_counted_as_the_endpoint_says(
    world: World, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Chat-completions endpoints say it only when asked to: `include_usage`."""
    caplog.set_level(logging.INFO, "agent_backend.access_log")
    with model_server(usage=(7, 4)) as endpoint:
        model = {"provider": "openai", "base_url": endpoint.url, "name": "m", "api": api}
        settings = world.settings(model=model, titles={"by_model": False})
        async with running_app(build_app(settings)) as http:
            caller = Caller(gateway=world.gateway, http=http)
            thread = thread_of(await caller.say("One."))
            await caller.say("Two.", thread_id=thread)
            await caller.send("threads.delete", thread_id=thread)
        totals = await read(world)

    lines = lines_of(caplog)
    assert [(line.get("tokens_in"), line.get("tokens_out"), line.get("usage")) for line in lines] == [
        (7, 4, None),
        (7, 4, None),
        (None, None, None),
    ]
    # The conversation is gone, what it cost is not.
    assert [(total.thread_id, total.answers, total.tokens_in, total.tokens_out) for total in totals] == [
        (thread, 2, 14, 8)
    ]


async def test_an_endpoint_that_cannot_be_asked_is_partial(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With `include_usage = false` nothing is asked for, and nothing is made up."""
    caplog.set_level(logging.INFO, "agent_backend.access_log")
    with model_server(usage=(7, 4)) as endpoint:
        model = {"provider": "openai", "base_url": endpoint.url, "name": "m", "api": "chat_completions"}
        settings = world.settings(model={**model, "include_usage": False}, titles={"by_model": False})
        async with running_app(build_app(settings)) as http:
            await Caller(gateway=world.gateway, http=http).say("One.")

    assert "stream_options" not in endpoint.requests[0]
    [line] = lines_of(caplog)
    assert (line["tokens_in"], line["tokens_out"], line["usage"]) == (0, 0, "partial")


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the access log said; in the test's own process other servers log, too."""
    return [record.__dict__["fields"] for record in caplog.records if record.name == "agent_backend.access_log"]


async def read(world: World) -> list[Total]:
    engine = build_engine(world.settings().database.url.get_secret_value())
    try:
        return await SqlUsage(engine=engine).totals(by="thread")
    finally:
        await engine.dispose()


async def test_a_report_is_a_table_or_json(engine: AsyncEngine) -> None:
    """For people, and for whoever adds it up further."""
    usage = await ready(engine)
    await usage.add(ALICE, "thr_1", Tokens(requests=2, input=1000, output=10))
    await usage.add(BOB, "thr_22", Tokens(requests=1, input=5, output=5, is_partial=True))

    table = await report(usage, by="thread", since=None, form="table")
    lines = await report(usage, by="user", since=None, form="json")

    assert table.splitlines() == [
        "issuer              subject  tenant  thread_id  answers  partial  requests  tokens_in  tokens_out",
        "https://login.test  alice            thr_1            1        0         2       1000          10",
        "https://login.test  bob              thr_22           1        1         1          5           5",
    ]
    assert [json.loads(line) for line in lines.splitlines()][1] == {
        "issuer": "https://login.test",
        "subject": "bob",
        "tenant": "",
        "answers": 1,
        "partial": 1,
        "requests": 1,
        "tokens_in": 5,
        "tokens_out": 5,
    }
    assert await report(usage, by="user", since=date(2026, 12, 1), form="json") == ""


@pytest.mark.parametrize(
    ("text", "expected"), [("2026-11-01", date(2026, 11, 1)), ("30d", date(2026, 10, 23)), ("0d", date(2026, 11, 22))]
)
def test_since_is_a_day_or_days_back(text: str, expected: date) -> None:
    """What people think in."""
    assert parse_since(text, now=NOON) == expected


def test_the_command_takes_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    """And refuses what is no day, with status 2."""
    options = parse(["usage", "--by", "thread", "--since", "2026-11-01", "--format", "json"])
    assert (options.by, options.since, options.format) == ("thread", date(2026, 11, 1), "json")
    with pytest.raises(SystemExit) as refused:
        parse(["usage", "--since", "yesterday"])

    assert refused.value.code == 2
    assert "--since" in capsys.readouterr().err
