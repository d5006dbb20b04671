"""An assertion is good once, and what is remembered is bounded."""

import pytest

from agent_backend.problems import AssertionRefused, ReplayMemoryFull
from agent_backend.replay import ReplayMemory


async def test_a_second_use_is_refused_until_the_end() -> None:
    """To the last moment at which the assertion itself would still be believed."""
    now = 100.0
    memory = ReplayMemory(clock=lambda: now)
    await memory.use("a", until=160.0)
    now = 159.9

    with pytest.raises(AssertionRefused, match="used before"):
        await memory.use("a", until=160.0)


async def test_a_full_memory_refuses_and_forgets_nothing() -> None:
    """When there is no room, the newcomer waits; the ones inside stay remembered."""
    memory = ReplayMemory(max_entries=2, clock=lambda: 100.0)
    await memory.use("a", until=160.0)
    await memory.use("b", until=160.0)

    with pytest.raises(ReplayMemoryFull):
        await memory.use("c", until=160.0)
    with pytest.raises(AssertionRefused):
        await memory.use("a", until=160.0)


async def test_what_has_ended_makes_room() -> None:
    """An expired assertion is refused for its age, and need not be remembered."""
    now = 100.0
    memory = ReplayMemory(max_entries=1, clock=lambda: now)
    await memory.use("a", until=160.0)
    now = 160.0

    await memory.use("b", until=220.0)

    assert repr(memory) == "<ReplayMemory 1 of 1>"
