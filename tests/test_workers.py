"""How the tests are shared out among workers: what is named there is there, and in its place."""

from pathlib import Path

import pytest

from tests.support.workers import LONG, TESTS, WITH_NODE, rank, unit_of


@pytest.mark.parametrize("path", [*LONG, *(file.removeprefix("tests/") for file in WITH_NODE)])
def test_what_is_named_exists(path: str) -> None:
    """A folder or file under a new name would silently lose its place."""
    assert (TESTS / path).exists()


def test_folders_with_long_files_come_first() -> None:
    """In the order of the list, and all others behind them."""
    folders = ["gateway", "agent_backend", "browser", "faults"]

    assert sorted(folders, key=lambda folder: rank(TESTS / folder / "test_a.py")) == [
        "browser",
        "faults",
        "agent_backend",
        "gateway",
    ]
    assert rank(Path(__file__)) == len(LONG)


def test_files_that_share_packages_go_to_one_worker() -> None:
    """All others go alone."""
    assert len({unit_of(file) for file in WITH_NODE}) == 1
    assert unit_of("tests/faults/test_deaths.py") == "tests/faults/test_deaths.py"
