"""Paths to routes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.routes import RouteTable
from gateway.errors import MalformedPath, RouteNotFound


def test_a_path_matches_its_route_and_no_other() -> None:
    """Exact match: neither case, nor a trailing slash, nor a prefix is forgiven."""
    table = RouteTable({b"/chatkit": "a", b"/b/chat%20kit": "b"})

    assert table.match(b"/chatkit") == "a"
    assert table.match(b"/b/chat%20kit") == "b"
    for path in (b"/CHATKIT", b"/chatkit/", b"/chatkit/x", b"/chat", b"/"):
        with pytest.raises(RouteNotFound):
            table.match(path)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"chatkit",
        b"//chatkit",
        b"/public/../chatkit",
        b"/./chatkit",
        b"/chatkit/..",
        b"/%2e%2e/chatkit",
        b"/%2E%2E/chatkit",
        b"/chat%2fkit",
        b"/chat%2Fkit",
        b"/%63hatkit",
        b"/chatkit%00",
        b"/chatkit%0A",
        b"/chatkit;x=1",
        b"/chat\\kit",
        b"/chat%5Ckit",
        b"/chatkit%",
        b"/chatkit%2",
        b"/%252e",
        b"/ch\xc3\xa4tkit",
        b"/chat kit",
        b"/chatkit\n",
        b"http://evil/chatkit",
        b"*",
    ],
)
def test_a_path_that_is_not_canonical_is_refused_not_repaired(path: bytes) -> None:
    """What the next hop might read differently is a 400, whatever it would match."""
    with pytest.raises(MalformedPath):
        RouteTable({b"/chatkit": "a"}).match(path)


def test_a_table_takes_only_canonical_paths() -> None:
    """A route that nobody could reach is a mistake in the settings."""
    with pytest.raises(MalformedPath):
        RouteTable({b"/a//b": "a"})


def test_repr_names_the_paths() -> None:
    """An operator sees what is routed."""
    assert repr(RouteTable({b"/b": 1, b"/a": 2})) == "<RouteTable /a /b>"


def test_a_prefix_takes_everything_below_it_and_the_longest_wins() -> None:
    """Not the prefix itself, not a neighbour; an exact path goes before."""
    table = RouteTable({b"/files/exact": "exact"}, {b"/files/": "files", b"/files/deep/": "deep"})

    assert table.match(b"/files/a") == "files"
    assert table.match(b"/files/a/b%20c") == "files"
    assert table.match(b"/files/deep/a") == "deep"
    assert table.match(b"/files/exact") == "exact"
    for path in (b"/files/", b"/files", b"/filesx", b"/FILES/a"):
        with pytest.raises(RouteNotFound):
            table.match(path)
    for path in (b"/files/../a", b"/files//a", b"/files/%2e%2e/a", b"/files/a;b"):
        with pytest.raises(MalformedPath):
            table.match(path)
    assert repr(table) == "<RouteTable /files/* /files/deep/* /files/exact>"


PIECES = st.sampled_from(
    [b"/", b"files", b"a", b".", b"..", b"%2e", b"%2F", b"%20", b"%zz", b";", b"\\", b"\0", b"\xff", b"?"]
)


@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join)))
def test_no_path_gets_around_a_prefix(path: bytes) -> None:
    """Either its own errors, or below the prefix with nothing in it that a next hop would resolve."""
    table = RouteTable({b"/chatkit": "exact"}, {b"/files/": "below"})
    try:
        route = table.match(path)
    except (RouteNotFound, MalformedPath):
        return

    if route == "exact":
        assert path == b"/chatkit"
    else:
        rest = path.removeprefix(b"/files/")
        assert path != rest != b""
        assert not {b".", b".."} & set(rest.split(b"/"))
        assert not any(mark in rest.lower() for mark in (b"%2e", b"%2f", b"%5c", b"%00", b"\\", b";", b"?", b"//"))
