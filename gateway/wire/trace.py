"""The trace that a request belongs to: read from `traceparent`, or begun here.

Rules: what is not exactly the header of the specification counts as absent, and so do two of them; a trace that goes on
keeps its id and its decision to record; one that begins here is recorded for a share decided by its id, so that every
gateway decides alike. Without spans of our own the caller's position goes on as it came, because there is nothing of
ours for the backend's spans to hang on. Pure but for the randomness it is given.

Source: W3C Trace Context, sections 3.2 (traceparent) and 4.3 (how to pass it on).
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

# Version ff is forbidden, and so are ids of zeros. A version above ours may have more behind the flags.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)

# Flags that version 00 knows: sampled, and (of its second edition) that the id is random.
_SAMPLED: Final = 1
_KNOWN: Final = 3


class Trace(NamedTuple):
    """One request's place in a trace.

    Attributes:
        trace_id: 32 hex digits, never all zero.
        parent_id: Whose request this is, 16 hex digits; None where the trace begins here.
        span_id: What the backend's own spans shall hang on.
        flags: Of `traceparent`: 1 is sampled.
    """

    trace_id: str
    parent_id: str | None
    span_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Is the trace recorded?"""
        return bool(self.flags & _SAMPLED)

    def header(self) -> bytes:
        """The `traceparent` for the backend."""
        return b"00-%b-%b-%02x" % (self.trace_id.encode(), self.span_id.encode(), self.flags)


def find_trace(
    values: Sequence[bytes],
    *,
    has_spans: bool = False,
    sample: float = 1.0,
    random: Callable[[int], bytes] = os.urandom,
) -> Trace:
    """The trace that a request goes on with, or a new one.

    Args:
        values: Of every `traceparent` header that it has.
        has_spans: We record a span of our own, as a child of the caller's.
        sample: Share (0 to 1) of the traces that begin here which are recorded.
        random: So many random bytes.
    """
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (match[1] == b"00" and match[5] is not None):
        return _begin(sample, random)
    parent = match[3].decode()
    return Trace(
        trace_id=match[2].decode(),
        parent_id=parent,
        span_id=random(8).hex() if has_spans else parent,
        flags=int(match[4], 16) & _KNOWN,
    )


def _begin(sample: float, random: Callable[[int], bytes]) -> Trace:
    text = random(24).hex()
    # A share of the ids' first four bytes: 0 is none of them and 1 is all.
    is_sampled = int(text[:8], 16) < sample * 2**32
    return Trace(trace_id=text[:32], parent_id=None, span_id=text[32:], flags=_SAMPLED if is_sampled else 0)
