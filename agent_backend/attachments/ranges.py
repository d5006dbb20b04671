"""Which part of a file does a request ask for?

Rules: pure. One range of bytes is understood; anything else means the whole file, as RFC 9110 section 14.2 allows.
"""

import re
from dataclasses import dataclass

SINGLE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes from ``start``; ``length`` of them."""

    start: int
    length: int


class Unsatisfiable(ValueError):
    """A range that begins behind the end: 416."""


def find_span(header: str | None, size: int) -> Span | None:
    """The part asked for, or None for all of it: no range, several, or one we do not understand.

    Raises:
        Unsatisfiable: It begins behind the end, or is empty.
    """
    match = SINGLE.fullmatch(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if not length:
            raise Unsatisfiable(header)
        return Span(start=size - length, length=length)
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable(header)
    return Span(start=start, length=end - start + 1)
