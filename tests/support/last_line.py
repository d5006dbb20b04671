"""What the run did not show, in its last line: browser tests that were skipped, and what would let them run.

pytest names skipped tests among many lines, above the coverage report; whoever sees "passed" at the end believes that
everything was shown.
"""

from collections import Counter
from collections.abc import Iterable

import pytest

FOLDER = "tests/browser/"


def describe_skipped(reports: Iterable[pytest.TestReport]) -> str:
    """One line for the browser tests among ``reports`` of skipped tests; empty if there are none."""
    reasons = Counter(skip_reason(report) for report in reports if report.nodeid.startswith(FOLDER))
    return "; ".join(f"browser tests: {count} not run, {reason}" for reason, count in sorted(reasons.items()))


def skip_reason(report: pytest.TestReport) -> str:
    """As `pytest.skip` was given it."""
    # pytest keeps file, line and "Skipped: reason".
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")
