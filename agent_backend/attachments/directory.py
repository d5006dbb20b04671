"""Bytes in a directory.

    drafts/<random>          being written
    <two hex digits>/<key>   whole, synced to the disk before it got its name

Rules: only keys that look like ids of ours become names. Folders 0700, files 0600. Whatever goes wrong in the middle,
disk full included, leaves nothing behind; after a crash a draft may stay, and `sweep` takes it. Replicas may share the
directory if their file system renames atomically.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import partial
from io import BufferedRandom
from pathlib import Path
from typing import TypeVar

from agent_backend.attachments.refusals import StorageUnavailable
from agent_backend.attachments.storage import BytesMissing

KEY = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*", re.ASCII)
# Characters; ids have at most 128, and what is made from one has a word behind it.
MAX_KEY = 160
# Bytes read at a time.
PIECE = 256 * 1024

T = TypeVar("T")


class DirectoryStore:
    """A `ByteStore` on one file system.

    Args:
        root: Made if it is not there, readable by this user only.
        clock: Unix seconds, as the file system counts them.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock

    def __repr__(self) -> str:
        return f"<DirectoryStore {self._root}>"

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator["DirectoryDraft"]:
        # Both without waiting: a cancellation in between would leave a file that nobody knows of.
        path = self._drafts / secrets.token_hex(16)
        with expected(), translated():
            make_folders(self._root, self._drafts)
            file = create(path)
        draft = DirectoryDraft(path=path, file=file, place=self._place)
        try:
            yield draft
        finally:
            draft.discard()

    async def size(self, key: str) -> int:
        with missing(key):
            return (await in_thread(self._place(key).stat)).st_size

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        with missing(key):
            file = await in_thread(lambda: self._place(key).open("rb"))
        with file:
            await in_thread(partial(file.seek, start))
            left = length if length is not None else float("inf")
            while left > 0:
                size = int(min(PIECE, left))
                piece = await in_thread(partial(file.read, size))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    async def delete(self, key: str) -> None:
        with expected():
            await in_thread(partial(remove, self._place(key), self._root))

    async def sweep(self, *, older_than: float) -> int:
        return await in_thread(partial(remove_older, self._drafts, self._clock() - older_than))

    async def check(self) -> None:
        async with self.draft() as draft:
            await draft.write(b"?")
            await draft.seal()

    @property
    def _drafts(self) -> Path:
        return self._root / "drafts"

    def _place(self, key: str) -> Path:
        """Spread over 256 folders: a folder with a million names is slow to look at."""
        if len(key) > MAX_KEY or not KEY.fullmatch(key):
            raise ValueError(f"{key[:64]!r} is no key")
        return self._root / hashlib.sha256(key.encode()).hexdigest()[:2] / key


class DirectoryDraft:
    """One file being written."""

    def __init__(self, *, path: Path, file: BufferedRandom, place: Callable[[str], Path]) -> None:
        self._path = path
        self._file = file
        self._place = place

    async def write(self, piece: bytes) -> None:
        await in_thread(partial(self._file.write, piece))

    async def seal(self) -> None:
        await in_thread(self._sync)

    async def read(self) -> bytes:
        with expected():
            return await in_thread(self._path.read_bytes)

    async def keep(self, key: str) -> None:
        with expected():
            await in_thread(partial(move, self._path, self._place(key)))

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed either
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


async def in_thread(work: Callable[[], T]) -> T:
    """Off the event loop: a disk may be slow."""
    with translated():
        return await asyncio.to_thread(work)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """A missing file stays one; all else is the storage's failure."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise StorageUnavailable(f"{type(exc).__name__}: {exc.strerror}") from exc


@contextlib.contextmanager
def expected() -> Iterator[None]:
    """Where we write, what is missing is the storage's failure, too: a file system that is not mounted."""
    try:
        yield
    except FileNotFoundError as exc:
        raise StorageUnavailable(f"{type(exc).__name__}: {exc.filename}") from exc


@contextlib.contextmanager
def missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise BytesMissing(key) from exc


def make_folders(*folders: Path) -> None:
    """Where they are not there yet, for this user alone."""
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


def create(path: Path) -> BufferedRandom:
    """A new file that nobody else can read."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b")


def move(source: Path, target: Path) -> None:
    """Rename, and note the new name on the disk too."""
    make_folders(target.parent)
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path, root: Path) -> None:
    """Nothing there is fine; no root at all is not: its files will be back when it is mounted again."""
    if not root.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(root))
    path.unlink(missing_ok=True)


def remove_older(folder: Path, moment: float) -> int:
    removed = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another replica was quicker
            if path.stat().st_mtime < moment:
                path.unlink()
                removed += 1
    return removed
