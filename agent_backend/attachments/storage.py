"""What is asked of any storage of bytes.

Rules: keys are ids of ours (letters, digits, ``_``). A draft is nobody's and nowhere to be found until it is kept; from
then on it is there, whole, under its key. A second one kept under the same key replaces the first. What goes wrong with
the storage itself is `StorageUnavailable`.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class BytesMissing(LookupError):
    """Nothing is kept under this key."""


class Draft(Protocol):
    """Bytes on their way in."""

    async def write(self, piece: bytes) -> None: ...

    async def seal(self) -> None:
        """All of it is written, and would survive a power cut."""

    async def read(self) -> bytes:
        """All of it, once sealed."""

    async def keep(self, key: str) -> None:
        """From now on it is there. Atomic, and quick: it is called inside a transaction of the database."""


class ByteStore(Protocol):
    def draft(self) -> AbstractAsyncContextManager[Draft]:
        """A draft, which is gone at the end of the block unless it was kept."""

    async def size(self, key: str) -> int:
        """Bytes under this key. Raises `BytesMissing`."""

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """In pieces. Raises `BytesMissing`."""

    async def delete(self, key: str) -> None:
        """Nothing is there any more; nor was it an error when nothing was."""

    async def sweep(self, *, older_than: float) -> int:
        """Remove drafts that a crash left behind, by their age in seconds; how many there were."""

    async def check(self) -> None:
        """Can it be written to right now? Raises `StorageUnavailable`."""
