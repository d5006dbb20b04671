"""The turn before the first."""

import logging

import pytest

from agent_backend.rehearsal import rehearse


async def test_a_rehearsal_is_a_whole_turn(caplog: pytest.LogCaptureFixture) -> None:
    """Everything that a user's first turn needs was used once, and nothing went wrong on the way."""
    events = await rehearse()

    assert events > 20
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
