"""Which address does the client have? The peer's own, or behind proxies that we trust, what they say.

Rules: the peer is believed about others only if it is a trusted proxy; then `X-Forwarded-For` is read from the right,
hop by hop, and the first that is no trusted proxy is the client. What stands further left the client may have written
itself. Nothing but logs and the backend's `x-forwarded-for` depends on it. Pure.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Proxies in a row; a longer list is a client that tries something, and is not read to its end.
MAX_HOPS = 32


def find_client(peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> str | None:
    """The client's address as text.

    Args:
        peer: Who is connected to us; None on a Unix socket.
        headers: The request's.
        trusted: Networks of proxies; empty: the peer is the client.

    Returns:
        An address; ``peer`` where nothing better is known. A hop that is no address ends the reading.
    """
    if not trusted or peer is None or not _is_trusted(peer, tuple(trusted)):
        return peer
    written = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    client = peer
    for hop in reversed(written.decode("latin-1").split(",")[-MAX_HOPS:]):
        address = _read(hop.strip())
        if address is None:
            break
        client = address
        if not _is_trusted(client, tuple(trusted)):
            break
    return client


@lru_cache(maxsize=4096)
def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    """Remembered: proxies are few."""
    address = _parse(text)
    return address is not None and any(address in network for network in trusted)


def _read(hop: str) -> str | None:
    """An address without port or brackets, in its one form; None if it is none. RFC 7239 section 6 has such forms."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    address = _parse(hop)
    return str(address) if address is not None else None


def _parse(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack listener calls an IPv4 peer ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address
