"""The gateway's keys: one fetch at a time, none too many, the last good set kept for a while."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agent_backend.gateway_keys import COOLDOWN, KEEP_FOR, REFRESH_AFTER, GatewayKeys, usable_keys
from agent_backend.problems import AssertionRefused, KeysUnavailable
from tests.support.issuer import signing_key

FIRST, SECOND = (signing_key("ES256", kid=kid).jwk() for kid in ("g1", "g2"))


class Published:
    """What the gateway publishes, a clock, and how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, str]] | None = [FIRST]
        self.now = 1000.0
        self.fetches = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.fetches += 1
        await asyncio.sleep(0)
        return httpx.Response(500) if self.keys is None else httpx.Response(200, json={"keys": self.keys})

    def build(self) -> GatewayKeys:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return GatewayKeys(url="http://gateway.test/jwks", http=http, clock=lambda: self.now)


@pytest.fixture
def published() -> Published:
    return Published()


async def test_many_who_ask_at_once_cause_one_fetch(published: Published) -> None:
    """The first hundred requests after a start wait for the same answer."""
    keys = published.build()

    found = await asyncio.gather(*(keys.find("g1") for _ in range(100)))

    assert found == [FIRST] * 100
    assert published.fetches == 1


async def test_unknown_kids_cause_one_fetch_per_cooldown(published: Published) -> None:
    """Nobody can make us hammer the gateway by inventing names."""
    keys = published.build()
    await keys.find("g1")
    published.now += COOLDOWN

    for number in range(50):
        with pytest.raises(AssertionRefused):
            await keys.find(f"made-up-{number}")

    assert published.fetches == 2


async def test_a_new_key_is_found_after_a_rotation(published: Published) -> None:
    """An unknown kid is looked for before it is refused."""
    keys = published.build()
    await keys.find("g1")
    published.keys, published.now = [FIRST, SECOND], published.now + COOLDOWN

    assert await keys.find("g2") == SECOND


async def test_a_known_key_is_refreshed_without_waiting(published: Published) -> None:
    """An old set still serves while a new one is fetched beside."""
    keys = published.build()
    await keys.find("g1")
    published.now += REFRESH_AFTER + 1

    assert await keys.find("g1") == FIRST
    assert published.fetches == 1
    await asyncio.sleep(0.01)
    assert published.fetches == 2


async def test_the_last_good_set_outlives_failed_fetches_for_a_while(published: Published) -> None:
    """The gateway may restart; it may not vanish for good."""
    keys = published.build()
    await keys.find("g1")
    published.keys = None
    published.now += KEEP_FOR

    assert await keys.find("g1") == FIRST
    await asyncio.sleep(0.01)
    published.now += 1
    with pytest.raises(KeysUnavailable):
        await keys.find("g1")


async def test_without_keys_we_ask_again_soon(published: Published) -> None:
    """A backend that started before its gateway serves within a second or two of it."""
    keys = published.build()
    published.keys = None
    with pytest.raises(KeysUnavailable):
        await keys.find("g1")
    published.keys, published.now = [FIRST], published.now + 1

    assert await keys.find("g1") == FIRST


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.update(kty="RSA"),
        lambda key: key.update(crv="P-384"),
        lambda key: key.update(alg="ES384"),
        lambda key: key.update(use="enc"),
        lambda key: key.update(key_ops=["encrypt"]),
        lambda key: key.update(d="secret"),
        lambda key: key.update(kid=7),
        lambda key: key.pop("kid"),
    ],
)
def test_other_keys_are_not_taken(change: Callable[[dict[str, Any]], object]) -> None:
    """Only public P-256 keys that are for signatures; the good one beside them is."""
    other: dict[str, Any] = dict(SECOND)
    change(other)

    assert usable_keys({"keys": [other, FIRST, "nonsense"]}) == {"g1": FIRST}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, "keys"])
def test_what_is_no_key_set_is_refused(document: object) -> None:
    """A login page with status 200 does not empty our keys."""
    with pytest.raises(ValueError, match="JWKS"):
        usable_keys(document)
