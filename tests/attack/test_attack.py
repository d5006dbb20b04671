"""Every row of the threat list holds against the running gateway."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.row import Attack
from tests.attack.rows import SECTIONS
from tests.attack.world import World, build_world

ROWS = {f"{section}: {row.threat}: {row.name}": row for section, rows in SECTIONS.items() for row in rows}


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Everything that runs, once for all rows."""
    with build_world() as made:
        yield made


@pytest.mark.parametrize("row", ROWS.values(), ids=[ascii(name) for name in ROWS])
def test_row(world: World, row: Attack) -> None:
    """What is attacked answers as the row requires."""
    row.run(world)


def listed_threats() -> list[str]:
    """The keys of threats.txt; headings begin with ``#``."""
    lines = (Path(__file__).parent / "threats.txt").read_text().splitlines()
    return [line.partition(": ")[0] for line in lines if line[:1] not in ("", "#")]


def test_every_threat_is_covered() -> None:
    """A line of the list without a row, or a row about no line of it, is a mistake in one of the two."""
    assert {row.threat for row in ROWS.values()} == set(listed_threats())


def test_no_two_rows_have_one_name() -> None:
    """The table and a failing test tell each row by its name."""
    assert len(ROWS) == sum(map(len, SECTIONS.values()))


def test_the_list_covers_our_own_attacks_too() -> None:
    """At least thirty are not on the list we were given."""
    own = [name for name, row in ROWS.items() if row.own]

    assert len(own) >= 30
    assert all(re.fullmatch(r"[^\n]+", name) for name in own)
