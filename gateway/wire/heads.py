"""Headers that have been heard before, and what was found out from them.

Most requests of a page have the headers of the one before, letter for letter but for a length and an id or two. What
follows from headers alone is then known already: where the request ends, which credential it has, which of them go on.
It is remembered for a connection's last request, and for the latest heads of all connections: a proxy in front sends
each request of a page over another one.

Rules: only what is the same to the letter is taken for the same; few and short heads are kept, in memory alone; what is
found out stands in here, whether it still holds (a token's end, a revoked key) is asked at every request.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from gateway.wire.asgi import VARYING, Headers
from gateway.wire.framing import Framing, check_framing, is_empty
from gateway.wire.templates import Template, learn

# Heads that are kept: of as many users, for each uses one browser. About 10 KB each, 30 with many small headers.
CAPACITY: Final = 1000

# Bytes of names and values. A head with a token of 1.5 KB has some 3 KB; a stranger's could have ten times that.
MAX_KEPT: Final = 4096

# As browsers, proxies and HTTP/2 gateways spell them. In another spelling they are taken for headers that do not vary,
# and such a head is not found again.
_SPELLINGS: Final = VARYING | {name.title() for name in VARYING}


# The requests of a head from which its bytes are learned. The first may be the only one; and a head that cannot be
# learned from these is not worth more attempts.
_LESSONS: Final = range(2, 10)

_Key = tuple[tuple[bytes, bytes], ...]


class Head:
    """The headers of one request.

    Args:
        raw: As the parser gave them.
        version: The request's.

    Attributes:
        framing: What they say about the body.
        memory: For the app, as `Direct` has it.
        template: Its bytes, once they are known.

    Raises:
        MalformedRequest: It is not clear from them where the request ends.
    """

    __slots__ = (
        "__weakref__",
        "_headers",
        "_length_at",
        "_raw",
        "_times",
        "_varying_at",
        "_varying_names",
        "_version",
        "framing",
        "memory",
        "template",
    )

    def __init__(self, raw: Headers, version: str) -> None:
        self._raw, self._version = raw, version
        self._headers = headers = [(name.lower(), value) for name, value in raw]
        self._varying_at = [index for index, (name, _) in enumerate(headers) if name in VARYING]
        self._varying_names = [raw[index][0] for index in self._varying_at]
        self.framing: Framing = check_framing(headers, version)
        lengths = [index for index in self._varying_at if headers[index][0] == b"content-length"]
        self._length_at = lengths[0] if lengths else None
        self.memory: dict[Any, Any] = {}
        self.template: Template | None = None
        self._times = 0  # that the parser has read it

    def is_again(self, raw: Headers, version: str) -> bool:
        """Are these the same, but for the values of those that vary?"""
        if not self.is_alike(raw, version):
            return False
        expected = self._raw.copy()
        for index in self._varying_at:
            expected[index] = raw[index]
        return raw == expected

    def is_alike(self, raw: Headers, version: str) -> bool:
        """Are these as many, and is what varies in the same places? If the others are the same too, all of them are."""
        if len(raw) != len(self._raw) or version != self._version:
            return False
        return [raw[index][0] for index in self._varying_at] == self._varying_names

    def without_varying(self, raw: Headers) -> _Key:
        """What is found again by.

        Args:
            raw: Of a request; `is_alike` holds.
        """
        rest = raw.copy()
        for index in reversed(self._varying_at):
            del rest[index]
        return tuple(rest)

    def read(self, raw: Headers) -> tuple[Headers, Headers, bool]:
        """What a request with these headers has, names in lower case: all of them, those that vary, and a body?

        Args:
            raw: Of the request; `is_again` holds.
        """
        self._times += 1
        headers, varying = self.fill([raw[index][1] for index in self._varying_at])
        length_at = self._length_at
        has_body = self.framing.is_chunked or (length_at is not None and not is_empty(raw[length_at][1]))
        return headers, varying, has_body

    def fill(self, values: Sequence[bytes]) -> tuple[Headers, Headers]:
        """All headers, and those that vary, names in lower case, with these values for the latter."""
        headers, varying = self._headers.copy(), []
        for index, value in zip(self._varying_at, values, strict=True):
            headers[index] = pair = (headers[index][0], value)
            varying.append(pair)
        return headers, varying

    def learn(self, data: bytes, raw: Headers, *, method: bytes, target: bytes) -> None:
        """Learn its bytes from ``data``, which the parser took for exactly one request, of a kind that leaves the
        connection as it was."""
        framing = self.framing
        if self._times in _LESSONS and not (framing.is_chunked or framing.expects_continue):
            self.template = learn(data, raw, self._varying_at, self._length_at, method=method, target=target)


class Heads:
    """The latest heads of all connections."""

    def __init__(self, *, capacity: int = CAPACITY, max_kept: int = MAX_KEPT) -> None:
        self._capacity = capacity
        self._max_kept = max_kept
        self._heads: OrderedDict[_Key, Head] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, raw: Headers, version: str, last: Head | None = None) -> Head:
        """The head for these headers, new if they are.

        Args:
            last: Of the connection: requests that a proxy brings together often differ in their user alone.

        Raises:
            MalformedRequest: As `Head`.
        """
        if last is not None and last.is_alike(raw, version):
            head = self._recall(last.without_varying(raw), raw, version)
            if head is not None:
                return head
        key = tuple([pair for pair in raw if pair[0] not in _SPELLINGS])
        head = self._recall(key, raw, version)
        if head is not None:
            return head
        head = Head(raw, version)
        if sum([len(name) + len(value) for name, value in raw]) <= self._max_kept:
            self._heads[key] = head
            if len(self._heads) > self._capacity:
                self._heads.popitem(last=False)
        return head

    def _recall(self, key: _Key, raw: Headers, version: str) -> Head | None:
        head = self._heads.get(key)
        if head is None or not head.is_alike(raw, version):
            return None
        self._heads.move_to_end(key)
        return head

    def clear(self) -> None:
        """Forget everything: what was found out may be so no longer."""
        self._heads.clear()
