"""Which Python the gateway is measured on. Nothing is installed: what would be, is a script that fails at it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.errors import CannotMeasure
from tests.bench.interpreter import Interpreter, choose_python, look_at, rank

# Asked for its version it says one; the probe takes it no time; it has no `venv`.
FAST = """#!/bin/sh
case "$1 $2" in
    "-c import platform"*) echo 3.12.1 ;;
    "-c "*) echo 0.01 ;;
    *) echo "No module named venv" >&2; exit 1 ;;
esac
"""
OLD = "#!/bin/sh\necho\n"
BROKEN = "#!/bin/sh\necho 'version 3.12 is not installed' >&2\nexit 127\n"

Place = Callable[[str, str], Path]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Writes a program; returns its path."""

    def write(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    return write


def named(path: str, probe: float) -> Interpreter:
    return Interpreter(path=path, version="3.12.1", probe=probe)


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (60.0, (), ["own"]),
        (60.0, (50.0, 40.0), ["40.0", "50.0", "own"]),
        (60.0, (70.0, 50.0), ["50.0", "own", "70.0"]),
        (60.0, (58.0,), ["own", "58.0"]),
        (60.0, (60.0,), ["own", "60.0"]),
    ],
)
def test_the_fastest_comes_first_and_ours_is_preferred(
    own: float, others: tuple[float, ...], expected: list[str]
) -> None:
    """An environment of its own has to be worth it: less than the noise is not."""
    ranked = rank(named("own", own), [named(str(probe), probe) for probe in others])

    assert [interpreter.path for interpreter in ranked] == expected


@pytest.mark.parametrize("script", [OLD, BROKEN])
def test_a_python_that_is_too_old_or_does_not_run_is_none(place: Place, script: str) -> None:
    assert look_at(str(place("python3.12", script))) is None


def test_the_one_that_runs_the_tests_is_one() -> None:
    found = look_at(sys.executable)

    assert found is not None
    assert sys.version.startswith(found.version)
    assert found.probe > 0


def test_one_that_the_gateway_cannot_be_installed_on_is_left_out_with_the_reason(place: Place, tmp_path: Path) -> None:
    path = place("python3.12", FAST)
    place("python3.13", BROKEN)
    said: list[str] = []

    chosen = choose_python(None, tmp_path / "cache", said.append, folders=str(tmp_path))

    assert chosen.path == sys.executable
    assert said[0] == f"installing the gateway on {path}, Python 3.12.1"
    assert said[1].startswith(f"{path} is left out: ")
    assert said[1].endswith("No module named venv")


@pytest.mark.parametrize(
    ("script", "message"), [(OLD, "is no Python 3.11 or newer"), (FAST, "No module named venv")], ids=["old", "no venv"]
)
def test_one_that_was_asked_for_is_not_exchanged_for_another(
    place: Place, tmp_path: Path, script: str, message: str
) -> None:
    path = place("python3.12", script)

    with pytest.raises(CannotMeasure, match=message):
        choose_python(str(path), tmp_path / "cache", print, folders=str(tmp_path))
