"""Bytes in a directory."""

import asyncio
import os
import resource
import shutil
import signal
import stat
from pathlib import Path

import pytest

from agent_backend.attachments.directory import DirectoryStore
from agent_backend.attachments.refusals import StorageUnavailable
from agent_backend.attachments.storage import BytesMissing

KEY = "atc_0123abcd"


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def put(store: DirectoryStore, data: bytes, key: str = KEY) -> None:
    async with store.draft() as draft:
        await draft.write(data)
        await draft.seal()
        await draft.keep(key)


async def get(store: DirectoryStore, key: str = KEY, **part: int) -> bytes:
    return b"".join([piece async for piece in store.read(key, **part)])


async def test_what_was_kept_is_there(tmp_path: Path) -> None:
    """Whole or in part, in pieces when it is large."""
    store, data = DirectoryStore(tmp_path / "files"), os.urandom(700_000)

    await put(store, data)

    assert await store.size(KEY) == len(data)
    assert await get(store) == data
    assert await get(store, start=5, length=300_000) == data[5:300_005]
    assert len([piece async for piece in store.read(KEY)]) == 3


async def test_a_draft_is_nowhere_until_it_is_kept(tmp_path: Path) -> None:
    """Not under its key while it is written, and not at all when the block is left."""
    store = DirectoryStore(tmp_path / "files")

    async with store.draft() as draft:
        await draft.write(b"half")
        with pytest.raises(BytesMissing):
            await store.size(KEY)

    assert files_in(tmp_path) == []


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
async def test_whatever_goes_wrong_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    """A failure or a cancellation in the middle."""
    store = DirectoryStore(tmp_path / "files")

    async def fail() -> None:
        async with store.draft() as draft:
            await draft.write(b"half")
            raise failure

    with pytest.raises(failure):
        await fail()

    assert files_in(tmp_path) == []


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The system refuses the bytes in mid-write; what was kept before is untouched."""
    store = DirectoryStore(tmp_path / "files")
    await put(store, b"before")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageUnavailable):
            await put(store, bytes(200_000), "atc_large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert [path.name for path in files_in(tmp_path)] == [KEY]
    assert await get(store) == b"before"


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """Folders 0700, files 0600, whatever the process's mask says."""
    mask = os.umask(0)
    try:
        await put(DirectoryStore(tmp_path / "files"), b"secret")
    finally:
        os.umask(mask)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "files", *(tmp_path / "files").rglob("*"))}
    assert modes == {0o700, 0o600}


@pytest.mark.parametrize("key", ["", "../x", "a/b", "a\x00b", "A", "a.b", "x" * 161, "_a", "a__b"])
async def test_only_our_ids_become_names(tmp_path: Path, key: str) -> None:
    """No path, no dot, no odd character can be a key."""
    store = DirectoryStore(tmp_path / "files")

    for work in (store.size(key), store.delete(key), get(store, key), put(store, b"x", key)):
        with pytest.raises(ValueError, match="no key"):
            await work
    assert files_in(tmp_path) == []


async def test_deleting_is_idempotent(tmp_path: Path) -> None:
    """It is gone; a second time is no error."""
    store = DirectoryStore(tmp_path / "files")
    await put(store, b"x")

    await store.delete(KEY)
    await store.delete(KEY)

    with pytest.raises(BytesMissing):
        await get(store)


async def test_a_crash_leaves_drafts_for_the_sweeper_only(tmp_path: Path) -> None:
    """Old ones go, young ones are somebody's, what is kept stays."""
    now = [1_000_000.0]
    store = DirectoryStore(tmp_path / "files", clock=lambda: now[0])
    await put(store, b"kept")
    drafts = tmp_path / "files" / "drafts"
    for name, age in [("old", 100), ("young", 10)]:
        (drafts / name).write_bytes(b"half")
        os.utime(drafts / name, (now[0] - age, now[0] - age))
    for path in files_in(tmp_path):
        if path.name == KEY:
            os.utime(path, (0, 0))

    swept = await store.sweep(older_than=50)

    assert swept == 1
    assert sorted(path.name for path in files_in(tmp_path)) == [KEY, "young"]


async def test_a_directory_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    """The check writes, because only that proves it; a good one leaves no trace."""
    await DirectoryStore(tmp_path / "files").check()
    (tmp_path / "blocked").write_text("a file is in the way")

    with pytest.raises(StorageUnavailable):
        await DirectoryStore(tmp_path / "blocked").check()
    assert [path.name for path in files_in(tmp_path)] == ["blocked"]


async def test_a_file_system_that_went_away_is_the_storages_failure(tmp_path: Path) -> None:
    """Not "no such file", which would be a failure of ours: 503, and told by the readiness probe."""
    root = tmp_path / "mount" / "files"
    root.parent.mkdir()
    store = DirectoryStore(root)
    await store.check()
    shutil.rmtree(root.parent)

    with pytest.raises(StorageUnavailable):
        await store.check()
    with pytest.raises(StorageUnavailable):
        await store.delete(KEY)

    root.parent.mkdir()
    async with store.draft() as draft:
        await draft.write(b"a")
        await draft.seal()
        shutil.rmtree(root.parent)
        with pytest.raises(StorageUnavailable):
            await draft.keep("atc_1")
