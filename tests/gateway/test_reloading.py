"""New settings in a running server: one reload follows the other, whatever became of the one before."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway.reloading import Reloading
from gateway.settings import Settings, load_settings
from tests.gateway.settings.files import SMALLEST, write


class Faulty:
    """A gateway whose first reload ends in a bug."""

    def __init__(self, settings: Settings) -> None:
        self.runtime = SimpleNamespace(settings=settings)
        self.asked = 0
        self.noted: list[bool] = []
        self.taken = asyncio.Event()

    async def reload(self, settings: Settings) -> None:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("a bug")

    def note_reload(self, *, taken: bool) -> None:
        self.noted.append(taken)
        if taken:
            self.taken.set()


async def test_a_bug_in_one_reload_does_not_stop_the_next(tmp_path: Path) -> None:
    """Whoever is paged sends the signal again, and it has to count; the first is counted as refused."""
    path = write(tmp_path, SMALLEST)
    gateway: Any = Faulty(load_settings(path))
    server: Any = SimpleNamespace(take=lambda **_: None)
    reloading = Reloading(gateway, server, lambda: load_settings(path), None)

    reloading.begin()
    reloading.begin()
    async with asyncio.timeout(10):
        await gateway.taken.wait()

    assert gateway.noted == [False, True]
