"""Which pages does a browser count as one site with the gateway? That decides whether a cookie is sent at all.

Pure. Sources: RFC 6265bis section 5.2 ("same-site"); the HTML standard on schemeful same-site; the Public Suffix List,
in the copy that a package brings.
"""

import ipaddress
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

# Names that are never looked up outside, or that only a cluster knows.
_INNER_SUFFIXES: Final = (".local", ".internal", ".svc", ".cluster.local", ".lan", ".home.arpa", ".localhost", ".test")


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """This machine, as browsers see it: they trust http there, and keep Secure cookies."""
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def is_inner(host: str) -> bool:
    """A private network's name or address: not reached from outside."""
    address = _address(host)
    if address is not None:
        return address.is_private
    return "." not in host or host.endswith(_INNER_SUFFIXES)


def site_of(host: str) -> str:
    """The registrable domain, or the host itself where there is none."""
    if _address(host) is not None or "." not in host:
        return host
    return _suffixes().privatesuffix(host) or host


def is_public_suffix(domain: str) -> bool:
    """May no cookie be set for this domain, because strangers share it?"""
    return _suffixes().is_public(domain)


def is_same_site(origin: str, other: str) -> bool:
    """Scheme and registrable domain are the same; ports do not matter."""
    return urlsplit(origin).scheme == urlsplit(other).scheme and site_of(host_of(origin)) == site_of(host_of(other))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
