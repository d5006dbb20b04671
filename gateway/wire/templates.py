"""The bytes of a head that came before, to know it again without parsing it.

A page sends the same head again and again, letter for letter but for a length and an id or two. What stands between
those is compared as bytes; they themselves are read here.

Rules: only a head that the parser has read and taken becomes a template, and only one that it can have read in no other
way: every line ends in CRLF, every header is a line, and what varies stands on a line of its own name. Only a whole
request that came in one read is known again. Anything out of the ordinary is the parser's: a value with a space in it,
a long one, a body that is shorter or longer than declared. Long heads and queries are not kept.

Source: RFC 9112 sections 2.1, 2.2 and 5.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.wire.asgi import Headers

# What the parser would give as it stands: visible characters, nothing to trim. `tracestate` may be long (512).
_VALUE: Final = re.compile(rb"[!-~]{1,512}(?=\r)")
MAX_DIGITS: Final = 9
_LENGTH: Final = re.compile(rb"[0-9]{1,%d}(?=\r)" % MAX_DIGITS)

_END: Final = b"\r\n\r\n"

# Bytes of a head, and of a target, that are learned. Behind a `?` there may be a signature, and the next is another.
MAX_LEARNED: Final = 8 * 1024
MAX_TARGET: Final = 256


class Template:
    """One head's bytes.

    Args:
        pieces: All of them but the values that vary, which stand between the pieces.
        length_at: Which of those values is the body's length, None: there is no body.
        method, target: As the parser gave them.
    """

    __slots__ = ("_length_at", "_patterns", "_pieces", "_rest", "method", "target")

    def __init__(self, pieces: Sequence[bytes], length_at: int | None, *, method: bytes, target: bytes) -> None:
        *self._pieces, self._rest = pieces
        self._length_at = length_at
        self._patterns = [_LENGTH if index == length_at else _VALUE for index in range(len(self._pieces))]
        self.method = method
        self.target = target

    def read(self, data: bytes) -> tuple[list[bytes], bytes] | None:
        """The values that vary and the body, if ``data`` is exactly one request with this head."""
        at, values = 0, []
        for piece, pattern in zip(self._pieces, self._patterns, strict=True):
            if not data.startswith(piece, at):
                return None
            match = pattern.match(data, at + len(piece))
            if match is None:
                return None
            values.append(match[0])
            at = match.end()
        if not data.startswith(self._rest, at):
            return None
        at += len(self._rest)
        length = 0 if self._length_at is None else int(values[self._length_at])
        return (values, data[at:]) if len(data) - at == length else None


def learn(
    data: bytes, raw: Headers, varying_at: Sequence[int], length_at: int | None, *, method: bytes, target: bytes
) -> Template | None:
    """A template from ``data``, which the parser took for exactly one request; None if it cannot be known again.

    Args:
        raw: The headers as the parser gave them.
        varying_at: Indexes of those that vary.
        length_at: Index of `Content-Length`.
    """
    if len(target) > MAX_TARGET or b"?" in target:
        return None
    length = b"0" if length_at is None else raw[length_at][1]
    end = data.find(_END, 0, MAX_LEARNED) + len(_END)
    lines = data.count(b"\r\n", 0, end)
    # With the request line and the empty one. Neither a bare LF nor a folded line is among them.
    if end < len(_END) or lines != len(raw) + 2 or data.count(b"\n", 0, end) != lines:
        return None
    if len(length) > MAX_DIGITS or len(data) - end != int(length):
        return None
    at, pieces = 0, []
    for index in varying_at:
        name, value = raw[index]
        line = b"\r\n" + name + b":"
        begin = data.find(line, at, end) + len(line)
        if data.count(line, 0, end) != 1 or begin < at + len(line):
            return None
        while data[begin : begin + 1] == b" ":
            begin += 1
        match = (_LENGTH if index == length_at else _VALUE).match(data, begin)
        if match is None or match[0] != value:
            return None
        pieces.append(data[at:begin])
        at = match.end()
    pieces.append(data[at:end])
    where = None if length_at is None else list(varying_at).index(length_at)
    return Template(pieces, where, method=method, target=target)
