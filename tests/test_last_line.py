"""A run that did not drive a browser says so where people look: at its very end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.demo import ROOT
from tests.support.last_line import describe_skipped

HARNESS = "tests/browser/test_harness.py"


def skipped(nodeid: str, reason: str) -> pytest.TestReport:
    return pytest.TestReport(nodeid, (nodeid, 1, ""), {}, "skipped", (nodeid, 1, f"Skipped: {reason}"), "setup")


def run(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Exit status and lines of a run of the tests on a machine without programs."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "CHROMIUM", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**kept, "PATH": "/nowhere", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_the_last_line_says_what_was_not_shown(tmp_path: Path) -> None:
    """Below pytest's own summary and below the coverage report, with the way to mend it."""
    coverage = ("--cov=tests.support", "--cov-report=term", "--cov-fail-under=0")
    status, lines = run(HARNESS, *coverage, COVERAGE_FILE=str(tmp_path / "coverage"))

    assert status == 0
    assert any(line.startswith("TOTAL") for line in lines)
    assert lines[-1] == "browser tests: 2 not run, no Chromium on this machine (Debian: apt install chromium)"


def test_in_ci_nothing_is_skipped() -> None:
    """Without a browser the tests fail there: green means that they ran."""
    status, lines = run(HARNESS, CI="1")

    assert status == 1
    assert "2 errors" in lines[-1]


def test_each_reason_once_and_only_for_the_browser() -> None:
    """Other tests that are skipped are pytest's to tell."""
    reports = [
        skipped("tests/browser/test_a.py::test_one", "no Chromium"),
        skipped("tests/browser/test_a.py::test_two", "no Chromium"),
        skipped("tests/browser/test_nextjs.py::test_one", "no Node.js"),
        skipped("tests/faults/test_memory.py::test_one", "not on Linux"),
    ]

    assert describe_skipped(reports) == ("browser tests: 2 not run, no Chromium; browser tests: 1 not run, no Node.js")
    assert describe_skipped(reports[3:]) == ""
