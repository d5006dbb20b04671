"""A stream in: counted, judged."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Message

from agent_backend.attachments.directory import DirectoryStore
from agent_backend.attachments.refusals import Empty, TooLarge, TypeDiffers, TypeNotAccepted, UploadIncomplete
from agent_backend.attachments.uploads import Received, body_pieces, check_declared, decide_type, receive
from tests.agent_backend.attachments.world import pieces_of

ACCEPTED = ("image/png", "text/*")


async def test_what_came_is_counted_and_told(tmp_path: Path) -> None:
    """And it is all on the disk."""
    async with DirectoryStore(tmp_path / "files").draft() as draft:
        received = await receive(pieces_of(b"words", 2), draft, max_bytes=5)

        assert received == Received(size=5, kind="text")
        assert await draft.read() == b"words"


async def test_not_a_byte_too_many_is_taken(tmp_path: Path) -> None:
    """The stream is left at the first piece that goes beyond: an endless one too."""
    taken = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(10)

    async with DirectoryStore(tmp_path / "files").draft() as draft:
        with pytest.raises(TooLarge):
            await receive(endless(), draft, max_bytes=35)
        await draft.seal()
        assert len(await draft.read()) == 30
    assert taken == 4


async def test_nothing_is_no_attachment(tmp_path: Path) -> None:
    async with DirectoryStore(tmp_path / "files").draft() as draft:
        with pytest.raises(Empty):
            await receive(pieces_of(b""), draft, max_bytes=5)


def request_of(*messages: Message) -> Request:
    """A body that arrives so; after the last message there is silence."""
    left = list(messages)

    async def receive_next() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return Request({"type": "http", "method": "PUT", "headers": []}, receive_next)


def chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_comes_in_pieces() -> None:
    request = request_of(chunk(b"a"), chunk(b""), chunk(b"b", more=False))

    assert [piece async for piece in body_pieces(request, timeout=5)] == [b"a", b"b"]


@pytest.mark.parametrize("end", [[{"type": "http.disconnect"}], []])
async def test_a_client_that_leaves_or_falls_silent_ends_it(end: list[Message]) -> None:
    """Half a file is never taken for a whole one."""
    request = request_of(chunk(b"half"), *end)

    with pytest.raises(UploadIncomplete):
        _ = [piece async for piece in body_pieces(request, timeout=0.05)]


@pytest.mark.parametrize("declared", ["", "application/octet-stream", "image/png", "text/anything"])
def test_a_type_that_may_be_accepted_is_announced(declared: str) -> None:
    check_declared(declared, ACCEPTED)


@pytest.mark.parametrize("declared", ["image/jpeg", "image/svg+xml", "application/x-msdownload", "nonsense"])
def test_a_type_that_will_be_refused_is_refused_at_once(declared: str) -> None:
    """Before a byte is sent."""
    with pytest.raises(TypeNotAccepted):
        check_declared(declared, ACCEPTED)


@pytest.mark.parametrize(
    ("declared", "kind", "decided"),
    [
        ("image/png", "png", "image/png"),
        ("", "png", "image/png"),
        ("", "text", "text/plain"),
        ("text/csv", "text", "text/csv"),
        ("image/png", "jpeg", TypeDiffers),
        ("image/png", None, TypeDiffers),
        ("text/plain", "zip", TypeDiffers),
        ("", "jpeg", TypeNotAccepted),
        ("", None, TypeNotAccepted),
        ("image/jpeg", "jpeg", TypeNotAccepted),
    ],
)
def test_the_content_decides_the_type(declared: str, kind: str | None, decided: str | type[Exception]) -> None:
    """What was declared may agree; what is not accepted is not, whatever it was called."""
    received = Received(size=1, kind=kind)  # type: ignore[arg-type]  # a word of the table
    if isinstance(decided, str):
        assert decide_type(declared, received, ACCEPTED) == decided
    else:
        with pytest.raises(decided):
            decide_type(declared, received, ACCEPTED)
