"""What the verifier remembers: bounded, until the token's own end, and never beyond its keys."""

from typing import Any

import pytest

from gateway.auth.key_source import KeyTimes
from gateway.errors import KeysUnavailable, TokenExpired, TokenInvalid
from tests.gateway.auth.test_verifier import NOW, World, issuer_of, person
from tests.support.issuer import signing_key


async def test_a_remembered_token_ends_with_its_leeway_to_the_instant() -> None:
    """Each has its own end: valid while ``now < exp + leeway``, remembered or not."""
    world = World()
    tokens = {seconds: world.token(exp=NOW + seconds) for seconds in (10, 600)}
    for seconds, token in tokens.items():
        assert await world.verify(token) == person("alice", expires_at=NOW + seconds)

    world.now = NOW + 39.999
    assert await world.verify(tokens[10]) == person("alice", expires_at=NOW + 10)
    world.now = NOW + 40
    with pytest.raises(TokenExpired):
        await world.verify(tokens[10])
    assert await world.verify(tokens[600]) == person("alice")
    assert repr(world.verifier) == "<Verifier 1 issuers, 1 tokens>"


async def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    """A thousand users cost as much as ten, and all are verified."""
    world = World(cache_size=10, issuers=[issuer_of(signing_key("ES256", kid="k1"))])

    for number in range(50):
        subject = f"user-{number}"
        assert (await world.verify(world.token(subject))).subject == subject
    assert repr(world.verifier) == "<Verifier 1 issuers, 10 tokens>"


async def test_a_token_does_not_outlive_its_key() -> None:
    """Once the issuer has withdrawn the key, tokens it signed are refused, whatever was remembered."""
    world = World()
    token = world.token()
    await world.verify(token)
    world.issuers[0].keys[:] = [signing_key("RS256", kid="k2", name="second")]
    await world.sources[0].refresh()

    with pytest.raises(TokenInvalid, match="has no RS256 key with kid 'k1'"):
        await world.verify(token)


async def test_a_key_replaced_under_its_own_kid_counts_from_then_on() -> None:
    """The name stays, the key does not."""
    world = World()
    token = world.token()
    await world.verify(token)
    world.issuers[0].keys[:] = [signing_key("RS256", kid="k1", name="second")]
    await world.sources[0].refresh()

    with pytest.raises(TokenInvalid, match="signature does not fit"):
        await world.verify(token)


async def test_an_added_key_costs_a_second_look_and_nobody_a_sign_in() -> None:
    """Rotation by overlap: tokens of the old key stay good."""
    world = World()
    token = world.token()
    await world.verify(token)
    world.issuers[0].keys.append(signing_key("RS256", kid="k2", name="second"))
    await world.sources[0].refresh()

    assert await world.verify(token) == person("alice")


async def test_without_believable_keys_nobody_is_judged() -> None:
    """503, not 401, for remembered tokens too; and the issuer is named as unavailable."""
    world = World()
    token = world.token(exp=NOW + 200_000)
    assert world.verifier.unavailable_issuers() == ["https://login.test"]
    await world.verify(token)
    assert world.verifier.unavailable_issuers() == []
    world.down, world.now = True, NOW + KeyTimes().keep + 1

    for credential in (token, world.token("bob", exp=NOW + 200_000)):
        with pytest.raises(KeysUnavailable):
            await world.verify(credential)
    assert world.verifier.unavailable_issuers() == ["https://login.test"]


@pytest.mark.parametrize("claims", [{"roles": ["a" * 9000]}, {"picture": "x" * 9000}, {"name": "n" * 9000}])
async def test_a_long_claim_harms_nobody(claims: dict[str, Any]) -> None:
    """It is verified like any other; what is no role or name is left out."""
    world = World()

    assert (await world.verify(world.token(**claims))).subject == "alice"
