"""Which part of a file is asked for?"""

import pytest

from agent_backend.attachments.ranges import Span, Unsatisfiable, find_span


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-3", Span(start=0, length=4)),
        ("bytes=2-", Span(start=2, length=8)),
        ("bytes=-3", Span(start=7, length=3)),
        ("bytes=-30", Span(start=0, length=10)),
        ("bytes=8-99", Span(start=8, length=2)),
        ("bytes=9-9", Span(start=9, length=1)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_one_range_is_understood(header: str | None, span: Span | None) -> None:
    """Of ten bytes. What is not understood is the whole file: RFC 9110 section 14.2."""
    assert find_span(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_is_none(header: str) -> None:
    """Not an empty answer, which would be taken for the file."""
    with pytest.raises(Unsatisfiable):
        find_span(header, 10)
