"""Keys kept, refreshed and looked up again: by a fake clock, against a scripted fetch."""

import asyncio
import contextlib
import dataclasses
import json
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.auth.key_fetch import KeyDocument
from gateway.auth.key_source import KeySource, KeyTimes
from gateway.errors import GatewayError, KeysUnavailable, TokenInvalid
from tests.support.issuer import signing_key

TIMES = KeyTimes(refresh=300.0, refresh_min=60.0, refresh_max=3600.0, keep=86_400.0, cooldown=10.0)
JWKS = {kid: signing_key("RS256", kid=kid).jwk() for kid in ("old", "new")}


def document(*kids: str, max_age: float | None = None) -> KeyDocument:
    return KeyDocument(content=json.dumps({"keys": [JWKS[kid] for kid in kids]}).encode(), max_age=max_age)


@dataclass
class World:
    """An issuer that answers what it is told, and a clock that stands still."""

    answer: KeyDocument | Exception = field(default_factory=lambda: document("old"))
    now: float = 1000.0
    fetches: int = 0
    gate: asyncio.Event | None = None

    async def fetch(self) -> KeyDocument:
        self.fetches += 1
        if self.gate:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def source(self) -> KeySource:
        return KeySource(
            issuer="https://login.test", fetch=self.fetch, algorithms=("RS256",), times=TIMES, clock=lambda: self.now
        )


async def outcome(source: KeySource, kid: str) -> Any:
    try:
        return (await source.find(kid, "RS256")).kid
    except GatewayError as exc:
        return type(exc)


async def test_the_first_token_fetches_the_keys_and_the_next_ones_use_them() -> None:
    """Even before the background refresh has begun."""
    world = World()
    source = world.source()

    assert [await outcome(source, "old") for _ in range(3)] == ["old"] * 3
    assert world.fetches == 1
    assert repr(source) == "<KeySource https://login.test 1 keys>"


async def test_a_rotated_key_costs_one_fetch() -> None:
    """An unknown `kid` asks the issuer again; the new key then serves, and the old one no longer."""
    world = World()
    source = world.source()
    await source.refresh()
    world.answer, world.now = document("new"), 1011.0

    assert await outcome(source, "new") == "new"
    assert await outcome(source, "old") is TokenInvalid
    assert world.fetches == 2


async def test_ten_thousand_unknown_kids_make_one_fetch_per_cooldown() -> None:
    """They fail closed, and known keys serve meanwhile."""
    world = World()
    source = world.source()
    await source.refresh()
    world.now += 10.0

    answers = {await outcome(source, f"kid-{number}") for number in range(10_000)}

    assert answers == {TokenInvalid}
    assert world.fetches == 2
    world.now += 9.99
    assert [await outcome(source, "x"), await outcome(source, "old"), world.fetches] == [TokenInvalid, "old", 2]
    world.now += 0.01
    assert [await outcome(source, "x"), world.fetches] == [TokenInvalid, 3]


async def test_many_at_once_join_one_fetch() -> None:
    """Single flight: a hundred tokens with a new key wait for the same answer."""
    world = World(gate=asyncio.Event())
    source = world.source()
    waiting = [asyncio.create_task(outcome(source, "old")) for _ in range(100)]
    await asyncio.sleep(0)
    assert world.gate
    world.gate.set()

    assert await asyncio.gather(*waiting) == ["old"] * 100
    assert world.fetches == 1


async def test_a_client_that_leaves_does_not_cancel_the_fetch_for_the_others() -> None:
    """The fetch belongs to nobody."""
    world = World(gate=asyncio.Event())
    source = world.source()
    first, second = (asyncio.create_task(outcome(source, "old")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert world.gate
    world.gate.set()

    assert await second == "old"
    assert world.fetches == 1


FAILURES = [
    KeysUnavailable("answered 500"),
    KeyDocument(content=b"<html>", max_age=9.0),
    KeyDocument(content=b'{"keys":[]}', max_age=9.0),
    RuntimeError("a fault in the client library"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=["refused", "HTML", "empty", "fault"])
async def test_the_last_good_keys_outlive_failures_up_to_a_bound(failure: KeyDocument | Exception) -> None:
    """Known keys serve until `keep`; unknown ones cannot be judged; after it, neither can anything."""
    world = World()
    source = world.source()
    await source.refresh()
    good = source.keys
    world.answer, world.now = failure, 1000.0 + 86_400.0
    await source.refresh()

    assert source.keys is good
    assert [await outcome(source, "old"), await outcome(source, "new")] == ["old", KeysUnavailable]
    world.now += 0.01
    assert await outcome(source, "old") is KeysUnavailable
    world.answer = document("old")
    await source.refresh()
    assert [await outcome(source, "old"), source.keys is good] == ["old", True]


async def test_failures_are_retried_once_per_cooldown_and_never_cost_a_users_sign_in() -> None:
    """Without any keys the answer is 503, not 401; the exception names the cause and collects nothing."""
    world = World(answer=KeysUnavailable("https://login.test: answered 500"))
    source = world.source()

    assert [await outcome(source, "old") for _ in range(1000)] == [KeysUnavailable] * 1000
    assert world.fetches == 1
    with pytest.raises(KeysUnavailable, match=r"no keys fetched yet; .*answered 500") as first:
        source.keys  # noqa: B018  # reading it is the question
    with pytest.raises(KeysUnavailable) as second:
        source.keys  # noqa: B018  # as above
    assert first.value is not second.value
    world.now, world.answer = 1010.0, document("old")
    assert await outcome(source, "old") == "old"


async def test_the_key_sets_identity_changes_with_the_document_and_only_then() -> None:
    """What was verified with these keys stays verified as long as they are published."""
    world = World()
    source = world.source()
    await source.refresh()
    first = source.keys
    await source.refresh()
    same = source.keys
    world.answer = document("old", "new")
    await source.refresh()

    assert same is first
    assert source.keys is not first


@pytest.mark.parametrize(
    ("max_age", "expected"),
    [(None, 270.0), (0.0, 60.0), (30.0, 60.0), (100.0, 90.0), (1000.0, 900.0), (86_400.0, 3600.0), (1e9, 3600.0)],
)
async def test_keys_are_refreshed_ahead_of_their_age_within_bounds(
    max_age: float | None, expected: float, caplog: pytest.LogCaptureFixture
) -> None:
    """At nine tenths of what the issuer says, never more often than each minute nor less often than each hour."""
    world = World(answer=document("old", max_age=max_age))
    source = world.source()
    with caplog.at_level(logging.INFO, "gateway.keys"):
        await source.refresh()

    assert source.refresh_in == expected
    assert [record.message for record in caplog.records] == ["keys changed"]


async def test_the_background_refresh_outlives_every_fault() -> None:
    """`run` fetches at once, and goes on after faults of any kind, until it is cancelled."""
    answers: list[KeyDocument | Exception] = [
        KeysUnavailable("down"),
        RuntimeError("a fault in the client library"),
        document("old"),
    ]
    fetched: asyncio.Queue[int] = asyncio.Queue()

    async def fetch() -> KeyDocument:
        fetched.put_nowait(1)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    times = KeyTimes(refresh=0.001, refresh_min=0.001, refresh_max=0.001, cooldown=0.001)
    source = KeySource(issuer="i", fetch=fetch, algorithms=("RS256",), times=times)
    running = asyncio.create_task(source.run())
    async with asyncio.timeout(5):
        for _ in range(5):
            await fetched.get()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert [key.kid for key in source.keys.keys] == ["old"]


async def test_each_key_left_out_is_logged_once_per_document(caplog: pytest.LogCaptureFixture) -> None:
    """The operator learns why a key does not serve, and is not told again at each refresh."""
    keys = [JWKS["old"], {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]
    world = World(answer=KeyDocument(content=json.dumps({"keys": keys}).encode(), max_age=None))
    source = world.source()
    for _ in range(3):
        await source.refresh()

    reasons = [record.__dict__["fields"]["reason"] for record in caplog.records]
    assert reasons == ["key 1 (kid 's'): kty 'oct' is not RSA, EC or OKP"]
    assert "c2VjcmV0" not in caplog.text


async def test_keys_are_refreshed_before_they_are_given_up() -> None:
    """A `keep` below the refresh interval: a healthy issuer's keys never run out between two fetches."""
    world = World()
    source = KeySource(
        issuer="https://login.test",
        fetch=world.fetch,
        algorithms=("RS256",),
        times=dataclasses.replace(TIMES, keep=20.0),
        clock=lambda: world.now,
    )
    await source.refresh()

    assert source.refresh_in == 18.0


async def test_fetches_are_counted_and_the_keys_age_is_known() -> None:
    """Of the last good one, whatever failed since; before the first there is none."""
    world = World()
    source = world.source()
    young = source.age
    await source.refresh()
    world.now += 90
    world.answer = KeysUnavailable("down")
    await source.refresh()

    assert (young, source.age) == (None, 90.0)
    assert source.fetches == {"taken": 1, "failed": 1}
