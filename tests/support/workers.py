"""How two workers (`pytest -n 2`) share the tests: file by file, so that what a module starts is started once.

Files that take long come first: one that came last would be waited for while the other worker has nothing left to do.
Without `-n` only the order is left of this.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parents[1]
# Folders of `tests`, those with the longest files first; the rest comes behind them as it is.
LONG = ("browser", "together", "faults", "attack", "agent_backend")
# One worker has both: installing the packages that they need takes longer than the tests of either.
WITH_NODE = ("tests/browser/test_nextjs.py", "tests/browser/test_types.py")


def put_long_ones_first(items: list[pytest.Item]) -> None:
    """In place; the order within a folder stays."""
    items.sort(key=lambda item: rank(item.path))


def rank(path: Path) -> int:
    folder = path.relative_to(TESTS).parts[0]
    return LONG.index(folder) if folder in LONG else len(LONG)


def unit_of(file: str) -> str:
    """The name of what goes to one worker as a whole: the file's, or its group's."""
    return " ".join(WITH_NODE) if file in WITH_NODE else file


class FileByFile(LoadFileScheduling):
    """xdist's own, but for files that share what is costly."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(super()._split_scope(nodeid))
