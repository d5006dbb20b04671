"""W3C Trace Context: what is taken over, what is made."""

import pytest

from gateway.wire.trace import find_trace

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


def count_up(size: int) -> bytes:
    """So many bytes that nobody takes for random."""
    return bytes(range(1, size + 1))


MADE = (count_up(24).hex()[:32], count_up(24).hex()[32:])


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"00-{TRACE}-{PARENT}-03", f"00-{TRACE}-{PARENT}-03"),
        # Flags that version 00 does not know are not ours to hand on.
        (f"00-{TRACE}-{PARENT}-ff", f"00-{TRACE}-{PARENT}-03"),
        # A later version is read as far as ours goes, and continued in ours.
        (f"01-{TRACE}-{PARENT}-01", GOOD),
        (f"fe-{TRACE}-{PARENT}-01-what-comes-later", GOOD),
    ],
)
def test_a_trace_goes_on(value: str, header: str) -> None:
    """Same id, same parent, same decision to record: without spans of our own nothing of ours comes between."""
    trace = find_trace([value.encode()], random=count_up)

    assert trace.header().decode() == header
    assert (trace.trace_id, trace.parent_id) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [GOOD.encode(), GOOD.encode()],
        [f"ff-{TRACE}-{PARENT}-01".encode()],
        [f"00-{'0' * 32}-{PARENT}-01".encode()],
        [f"00-{TRACE}-{'0' * 16}-01".encode()],
        [GOOD.upper().encode()],
        [f"00-{TRACE}-{PARENT}-01-more".encode()],
        [f"00-{TRACE}-{PARENT}-01-".encode()],
        [f"01-{TRACE}-{PARENT}-01more".encode()],
        [f"00-{TRACE[:-1]}-{PARENT}-01".encode()],
        [f"00-{TRACE}-{PARENT}-1".encode()],
        [f"00-{TRACE}-{PARENT}".encode()],
        [f"0-{TRACE}-{PARENT}-01".encode()],
        [f" {GOOD}".encode()],
        [f"{GOOD}\n".encode()],
        [b"00-" + b"\xff" * 32 + b"-" + b"\xff" * 16 + b"-01"],
        [f"00_{TRACE}_{PARENT}_01".encode()],
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(values: list[bytes]) -> None:
    """To the letter of the specification; nothing of a malformed one goes on."""
    trace = find_trace(values, random=count_up)

    assert (trace.trace_id, trace.span_id, trace.parent_id, trace.flags) == (*MADE, None, 1)
    assert trace.header() == f"00-{MADE[0]}-{MADE[1]}-01".encode()


def test_with_spans_of_our_own_the_backends_hang_on_ours() -> None:
    """The caller stays the parent of ours; the trace and its decision stay."""
    trace = find_trace([GOOD.encode()], has_spans=True, random=count_up)

    assert (trace.trace_id, trace.parent_id, trace.span_id) == (TRACE, PARENT, count_up(8).hex())


@pytest.mark.parametrize(
    ("start", "sample", "is_sampled"),
    [("7fffffff", 0.5, True), ("80000000", 0.5, False), ("ffffffff", 1.0, True), ("00000000", 0.0, False)],
)
def test_the_id_decides_whether_a_new_trace_is_recorded(start: str, sample: float, is_sampled: bool) -> None:
    """At both sides of the edge: every gateway with the same share decides alike."""
    trace = find_trace([], sample=sample, random=lambda size: bytes.fromhex(start).ljust(size, b"\x01"))

    assert trace.is_sampled is is_sampled
    assert trace.header().endswith(b"-01" if is_sampled else b"-00")


def test_ids_are_random() -> None:
    """No two traces are one."""
    traces = [find_trace([]) for _ in range(100)]

    assert len({trace.trace_id for trace in traces}) == len({trace.span_id for trace in traces}) == 100
