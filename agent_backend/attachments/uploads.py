"""A stream in: counted while it comes, judged at its end, kept only when it is what it should be.

Rules: not a byte beyond the limit is written; a client that falls silent or leaves ends the upload. Nothing is decided
by what the client calls the file. Knows nothing of owners or rows.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from agent_backend.attachments.kinds import Kind, Sniffer, agree, is_accepted, normal
from agent_backend.attachments.refusals import Empty, TooLarge, TypeDiffers, TypeNotAccepted, UploadIncomplete
from agent_backend.attachments.storage import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came: how many bytes, and what they are."""

    size: int
    kind: Kind | None


async def body_pieces(request: Request, *, timeout: float) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises `UploadIncomplete` when the client leaves, or is silent for ``timeout`` seconds."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(timeout):
                piece = await anext(stream, None)
        except TimeoutError as exc:
            raise UploadIncomplete(f"nothing for {timeout:g} s") from exc
        except ClientDisconnect as exc:
            raise UploadIncomplete("the client left") from exc
        if piece is None:
            return
        if piece:
            yield piece


async def receive(pieces: AsyncIterator[bytes], draft: Draft, *, max_bytes: int) -> Received:
    """Write the stream to the draft, and seal it. Raises `TooLarge` at the first byte too many, `Empty`."""
    sniffer, size = Sniffer(), 0
    async for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(f"more than {max_bytes} bytes")
        sniffer.feed(piece)
        await draft.write(piece)
    if not size:
        raise Empty("no bytes")
    await draft.seal()
    return Received(size=size, kind=sniffer.kind)


def check_declared(declared: str, accepted: tuple[str, ...]) -> None:
    """Before anything is sent: a type that would be refused anyway. Who says nothing is judged by the content."""
    name = normal(declared)
    if name and not is_accepted(name, accepted):
        raise TypeNotAccepted(f"declared {name!r:.100}, accepted are {', '.join(accepted)}")


def decide_type(declared: str, received: Received, accepted: tuple[str, ...]) -> str:
    """The media type it is kept under. Raises `TypeDiffers`, `TypeNotAccepted`."""
    decided = agree(declared, received.kind)
    if decided is None and normal(declared):
        raise TypeDiffers(f"declared {declared!r:.100}, the content is {received.kind or 'unknown'}")
    if decided is None or not is_accepted(decided, accepted):
        raise TypeNotAccepted(f"the content is {decided or 'unknown'}, accepted are {', '.join(accepted)}")
    return decided
