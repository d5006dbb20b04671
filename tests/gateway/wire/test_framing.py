"""What a request's head must say about its own end."""

import json

import pytest

from gateway.errors import GatewayError, HeadersTooLarge, MalformedRequest, RequestTimeout
from gateway.wire.framing import Framing, build_refusal, check_framing

HOST = (b"host", b"gateway")
LENGTH = (b"content-length", b"5")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([HOST], "1.1"),
        ([], "1.0"),
        ([HOST], "1.0"),
        ([HOST, LENGTH], "1.1"),
        ([HOST, CHUNKED], "1.1"),
        ([HOST, (b"transfer-encoding", b"Chunked ")], "1.1"),
    ],
)
def test_a_clear_head_passes(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """One Host where there must be one, and at most one statement of the length."""
    check_framing(headers, version)


@pytest.mark.parametrize(
    ("headers", "version", "reason"),
    [
        ([], "1.1", "0 Host headers, expected one"),
        ([HOST, HOST], "1.1", "2 Host headers, expected one"),
        ([HOST, HOST], "1.0", "2 Host headers, expected one"),
        ([HOST, LENGTH, CHUNKED], "1.1", "more than one statement of the body's length"),
        ([HOST, LENGTH, LENGTH], "1.1", "more than one statement of the body's length"),
        ([HOST, CHUNKED, CHUNKED], "1.1", "transfer-encoding b'chunked, chunked', only chunked in HTTP/1.1"),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", "transfer-encoding b'gzip, chunked', only"),
        ([HOST, (b"transfer-encoding", b"chunked, identity")], "1.1", "transfer-encoding b'chunked, identity', only"),
        ([HOST, (b"transfer-encoding", b"\x0bchunked")], "1.1", "transfer-encoding b'\\x0bchunked', only"),
        ([HOST, (b"transfer-encoding", b"")], "1.1", "transfer-encoding b'', only"),
        ([HOST, CHUNKED], "1.0", "transfer-encoding b'chunked', only chunked in HTTP/1.1"),
        ([HOST], "2.0", "HTTP/2.0, only 1.0 and 1.1 are understood"),
        ([HOST], "0.9", "HTTP/0.9, only 1.0 and 1.1 are understood"),
    ],
)
def test_an_unclear_head_is_refused(headers: list[tuple[bytes, bytes]], version: str, reason: str) -> None:
    """Whatever two parsers could read differently is refused, and the reason names it."""
    with pytest.raises(MalformedRequest) as caught:
        check_framing(headers, version)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        ([HOST], Framing(False, False, False)),
        ([HOST, LENGTH], Framing(False, True, False)),
        ([HOST, CHUNKED, (b"expect", b" 100-Continue")], Framing(True, False, True)),
    ],
)
def test_what_follows_the_head(headers: list[tuple[bytes, bytes]], framing: Framing) -> None:
    """A length, chunks, or nothing; and whether the client waits."""
    assert check_framing(headers, "1.1") == framing


@pytest.mark.parametrize("error", [MalformedRequest("secret"), HeadersTooLarge("secret"), RequestTimeout("secret")])
def test_a_refusal_is_a_whole_problem_answer(error: GatewayError) -> None:
    """It has the shape of every other error, says nothing of the reason, and closes."""
    head, _, body = build_refusal(error).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")

    assert lines[0].startswith(f"HTTP/1.1 {error.status} ")
    assert lines[1:] == [
        "content-type: application/problem+json",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    assert json.loads(body) == {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "message": error.message,
    }
