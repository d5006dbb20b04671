"""Headers that were heard before: what is taken for the same, and what is remembered of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedRequest
from gateway.wire.asgi import VARYING, Headers
from gateway.wire.heads import Head, Heads

HOST = (b"Host", b"gateway")
COOKIE = (b"Cookie", b"auth_token=a.b.c")
LENGTH = (b"Content-Length", b"5")


def test_what_varies_may_vary() -> None:
    """A length and ids differ from one request of a page to the next; each request has its own."""
    head = Head([HOST, (b"X-Request-ID", b"one"), LENGTH], "1.1")
    again: Headers = [HOST, (b"X-Request-ID", b"two"), (b"Content-Length", b"0")]

    assert head.is_again(again, "1.1")
    assert head.read(again) == (
        [(b"host", b"gateway"), (b"x-request-id", b"two"), (b"content-length", b"0")],
        [(b"x-request-id", b"two"), (b"content-length", b"0")],
        False,
    )
    assert head.read([HOST, (b"X-Request-ID", b"one"), LENGTH])[2]


@pytest.mark.parametrize(
    "other",
    [
        [HOST, (b"Cookie", b"auth_token=a.b.d"), LENGTH],
        [HOST, (b"cookie", b"auth_token=a.b.c"), LENGTH],
        [HOST, LENGTH, COOKIE],
        [HOST, COOKIE],
        [HOST, COOKIE, LENGTH, LENGTH],
        [HOST, COOKIE, (b"Transfer-Encoding", b"chunked")],
        [HOST, COOKIE, (b"traceparent", b"5")],
        [],
    ],
)
def test_any_other_difference_is_one(other: Headers) -> None:
    """In a value, a name, the order, the number; and in what stands where something varied."""
    assert not Head([HOST, COOKIE, LENGTH], "1.1").is_again(other, "1.1")


def test_the_version_counts() -> None:
    """What ends a request in HTTP/1.1 does not in 1.0."""
    head = Head([HOST], "1.1")

    assert (head.is_again([HOST], "1.1"), head.is_again([HOST], "1.0")) == (True, False)


def test_a_body_without_a_length() -> None:
    """Chunks are one, whatever else varies."""
    raw = [HOST, (b"Transfer-Encoding", b"chunked")]

    assert Head(raw, "1.1").read(raw)[2]


def test_an_unclear_head_is_never_remembered() -> None:
    """It is refused each time."""
    heads = Heads()
    for _ in range(2):
        with pytest.raises(MalformedRequest):
            heads.find([HOST, LENGTH, LENGTH], "1.1")

    assert len(heads) == 0


def test_a_head_is_found_from_any_connection() -> None:
    """By everything that does not vary."""
    heads = Heads()
    first = heads.find([HOST, COOKIE, LENGTH], "1.1")
    first.memory["found"] = "out"

    assert heads.find([HOST, COOKIE, (b"Content-Length", b"77")], "1.1") is first
    assert heads.find([HOST, (b"Cookie", b"auth_token=a.b.d"), LENGTH], "1.1").memory == {}
    assert heads.find([HOST, COOKIE, LENGTH], "1.0") is not first


def test_a_head_is_found_with_the_help_of_the_last_one() -> None:
    """Which only tells where to look: users behind one proxy differ in their cookie, and are told apart by it."""
    heads = Heads()
    first = heads.find([HOST, COOKIE, LENGTH], "1.1")
    other = heads.find([HOST, (b"Cookie", b"auth_token=a.b.d"), LENGTH], "1.1", first)

    assert other is not first
    assert heads.find([HOST, COOKIE, (b"Content-Length", b"77")], "1.1", other) is first
    with pytest.raises(MalformedRequest):
        heads.find([HOST, LENGTH, LENGTH], "1.1", first)


def test_a_repeated_length_is_not_hidden_by_a_head_with_one() -> None:
    """Their other headers are the same, and so is what they are looked for by."""
    heads = Heads()
    heads.find([HOST, COOKIE, LENGTH], "1.1")

    with pytest.raises(MalformedRequest):
        heads.find([HOST, COOKIE, LENGTH, LENGTH], "1.1")


def test_the_latest_are_kept() -> None:
    """As many as there is room for; long ones are not, for a stranger may send what he likes."""
    heads = Heads(capacity=2, max_kept=100)
    first = heads.find([HOST, (b"A", b"1")], "1.1")
    heads.find([HOST, (b"A", b"2")], "1.1")
    assert heads.find([HOST, (b"A", b"1")], "1.1") is first
    heads.find([HOST, (b"A", b"3")], "1.1")
    heads.find([HOST, (b"A", b"x" * 100)], "1.1")

    assert len(heads) == 2
    assert heads.find([HOST, (b"A", b"1")], "1.1") is first
    heads.clear()
    assert heads.find([HOST, (b"A", b"1")], "1.1") is not first


def test_an_unusual_spelling_of_what_varies_is_read_all_the_same() -> None:
    """It costs the memory, and nothing else."""
    heads = Heads()
    for length in (b"5", b"6"):
        raw = [HOST, (b"cOnTeNt-LeNgTh", length)]
        assert heads.find(raw, "1.1").read(raw) == (
            [(b"host", b"gateway"), (b"content-length", length)],
            [(b"content-length", length)],
            True,
        )


NAMES = st.sampled_from(
    [b"A", b"a", b"B", b"X-Request-Id", b"x-request-id", b"X-request-Id", b"traceparent", b"Cookie"]
)
LISTS = st.lists(st.tuples(NAMES, st.sampled_from([b"1", b"2"])), max_size=4)


@given(asked=st.lists(LISTS, max_size=12))
def test_a_memory_changes_nothing(asked: list[Headers]) -> None:
    """Whatever was asked before, a request's headers are its own."""
    heads, last = Heads(capacity=3), None
    for headers in asked:
        raw = [HOST, *headers]
        if last is None or not last.is_again(raw, "1.1"):
            last = heads.find(raw, "1.1", last)
        lower = [(name.lower(), value) for name, value in raw]

        assert last.read(raw) == (lower, [pair for pair in lower if pair[0] in VARYING], False)


@pytest.mark.parametrize("name", sorted(VARYING))
def test_a_long_head_is_not_kept_whatever_makes_it_long(name: bytes) -> None:
    """What varies stands in a kept head as well: a thousand strangers with 30 KB of `tracestate` would fill 30 MB."""
    heads = Heads(max_kept=100)
    heads.find([HOST, (name, b"0" * 100)], "1.1")

    assert len(heads) == 0
