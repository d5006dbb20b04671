"""The reader of queries that the monitoring test trusts."""

import pytest

from tests.deploy.promql import Matcher, Query, Selector, read_query


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("up", Query((Selector("up"),), frozenset())),
        (
            'rate(a_total{x="1", y=~"b|c"}[5m])',
            Query((Selector("a_total", (Matcher("x", "=", "1"), Matcher("y", "=~", "b|c"))),), frozenset()),
        ),
        ("sum by (le, route) (rate(a[1h]))", Query((Selector("a"),), frozenset({"le", "route"}))),
        ("sum(a) without (x)", Query((Selector("a"),), frozenset({"x"}))),
        (
            "a / on (job) group_left b > 2 * 3600 and c != 0.5",
            Query((Selector("a"), Selector("b"), Selector("c")), frozenset({"job"})),
        ),
        ('a{x="} rate(b) {"}', Query((Selector("a", (Matcher("x", "=", "} rate(b) {"),)),), frozenset())),
        ("histogram_quantile(0.95, sum by (le) (a)) offset 5m", Query((Selector("a"),), frozenset({"le"}))),
        ("a{} # sum(b)", Query((Selector("a"),), frozenset())),
    ],
)
def test_what_a_query_names(text: str, query: Query) -> None:
    """Metrics with their conditions, and the labels it groups by; functions and keywords are neither."""
    assert read_query(text) == query


@pytest.mark.parametrize("text", ["sum(a", 'a{x="1"', "a ? b", 'a{x="1}'])
def test_what_is_no_query_is_an_error(text: str) -> None:
    """Nothing is read half."""
    with pytest.raises(ValueError):  # noqa: PT011  # also of tuple.index, whose text is not ours
        read_query(text)


def test_a_choice_is_taken_apart() -> None:
    """Each of its values is looked up."""
    assert Matcher("ended_by", "=~", "backend|gateway").alternatives == ["backend", "gateway"]
    assert Matcher("code", "=", "a|b").alternatives == ["a|b"]
