"""Whose address is it? The peer's, unless the peer is a proxy that we trust."""

import ipaddress

import pytest

from gateway.wire.forwarded import MAX_HOPS, find_client

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7", "fd00::/8")]


def client(peer: str | None, *values: str) -> str | None:
    return find_client(peer, [(b"x-forwarded-for", value.encode("latin-1")) for value in values], PROXIES)


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        # Nobody that we trust: what it says is nothing to us.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", [], "203.0.113.9"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        (None, ["198.51.100.1"], None),
        # A trusted proxy: the right-most that is none.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1", "10.2.3.4"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        # Nobody else but proxies: the farthest of them.
        ("10.0.0.1", ["10.3.0.1, 10.2.0.1"], "10.3.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        # Forms that proxies write.
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", [" 2001:DB8:0::5 "], "2001:db8::5"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What is no address ends the reading: nothing left of it counts.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, _hidden, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", ["\u00b9.2.3.4"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.1\r\nx: y"], "10.0.0.1"),
    ],
)
def test_the_client_is(peer: str | None, values: list[str], expected: str | None) -> None:
    """A row each."""
    assert client(peer, *values) == expected


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    """The default: nothing is believed."""
    assert find_client("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.1")], []) == "10.0.0.1"


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    """Only so many from the right."""
    hops = ", ".join(["198.51.100.1"] + ["10.0.0.2"] * 100_000)
    assert client("10.0.0.1", hops) == "10.0.0.2"
    assert client("10.0.0.1", ", ".join(["198.51.100.1"] + ["10.0.0.2"] * (MAX_HOPS - 1))) == "198.51.100.1"
