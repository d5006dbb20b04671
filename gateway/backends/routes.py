"""Which route does a path belong to? Exact match, or by prefix, on the raw path; one canonical form or a refusal.

Rules: decided on the bytes as they arrived, so that what is matched is what is meant; an encoding of a character that
needs none, a dot segment, an empty segment, a parameter or a backslash is refused, not repaired. `Host` and scheme
decide nothing. Pure; knows nothing of what a route is.

Sources: RFC 3986 sections 2.3, 3.3 and 6.2.2.
"""

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from gateway.errors import MalformedPath, RouteNotFound

R = TypeVar("R")

# Segments of pchar without ';', each not empty; percent-encoding in upper case.
_PATH = re.compile(rb"/|(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+)+/?", re.ASCII)
_ENCODED = re.compile(rb"%([0-9A-F]{2})")
# Encoding one of these says nothing new (unreserved), or hides what the next hop might act on.
_NEVER_ENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\;%") | set(range(32))


class RouteTable(Generic[R]):
    """Paths bound to routes.

    Args:
        routes: Raw path to route; the paths are canonical.
        prefixes: The same for everything below a path, which ends with ``/``; the longest one wins.
    """

    def __init__(self, routes: Mapping[bytes, R], prefixes: Mapping[bytes, R] | None = None) -> None:
        prefixes = prefixes or {}
        for path in (*routes, *prefixes):
            check_path(path)
        self._routes = dict(routes)
        self._prefixes = sorted(prefixes.items(), key=lambda item: len(item[0]), reverse=True)

    def __repr__(self) -> str:
        paths = [*self._routes, *(prefix + b"*" for prefix, _ in self._prefixes)]
        return f"<RouteTable {b' '.join(sorted(paths)).decode()}>"

    @property
    def paths(self) -> frozenset[str]:
        """The exact paths, as ASGI's ``path`` has them."""
        return frozenset(path.decode("ascii") for path in self._routes)

    def match(self, path: bytes) -> R:
        """The route at ``path`` (raw, without query).

        Raises:
            RouteNotFound: Nothing is there.
            MalformedPath: Not canonical.
        """
        route = self._routes.get(path)
        if route is not None:
            return route
        check_path(path)
        for prefix, below in self._prefixes:
            if path.startswith(prefix) and path != prefix:
                return below
        raise RouteNotFound(f"path {path!r:.200}")


def check_path(path: bytes) -> None:
    """Is ``path`` in the one form we accept?

    Raises:
        MalformedPath: It is not.
    """
    if not _PATH.fullmatch(path):
        raise MalformedPath(f"path {path!r:.200} has an empty segment or a character that does not belong there")
    if any(segment in (b".", b"..") for segment in path.split(b"/")):
        raise MalformedPath(f"path {path!r:.200} has a dot segment")
    for match in _ENCODED.finditer(path):
        if int(match[1], 16) in _NEVER_ENCODED:
            raise MalformedPath(f"path {path!r:.200} encodes {match[0].decode()}")
