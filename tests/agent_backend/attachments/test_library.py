"""The whole life of an attachment: row and bytes together."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import FileAttachment, ImageAttachment

from agent_backend.attachments.directory import DirectoryStore
from agent_backend.attachments.refusals import (
    AlreadyUploaded,
    BeingUploaded,
    Empty,
    QuotaExceeded,
    SizeDiffers,
    StorageUnavailable,
    TooLarge,
    TypeDiffers,
    TypeNotAccepted,
    UploadIncomplete,
)
from agent_backend.context import Owner
from tests.agent_backend.attachments.world import (
    ALICE,
    PUBLIC_URL,
    STRANGERS,
    build_shelf,
    picture,
    pieces_of,
    sqlite_shelf,
)


async def test_a_text_is_announced_and_uploaded(tmp_path: Path) -> None:
    """Pending with a place for its bytes; then stored, without one."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="../a.txt", size=5, media_type="text/plain", owner=ALICE)
        assert (announced.name, announced.mime_type, announced.type) == ("a.txt", "text/plain", "file")
        assert announced.upload_descriptor
        assert str(announced.upload_descriptor.url) == f"{PUBLIC_URL}/{announced.id}/content"
        assert shelf.files() == []

        stored = await shelf.library.fill(announced.id, pieces_of(b"words"), owner=ALICE)

        assert stored.upload_descriptor is None
        assert (await shelf.library.find(announced.id, ALICE)).attachment == stored
        assert await shelf.rows() == {announced.id: "stored"}
        assert shelf.files() == [announced.id]


async def test_a_picture_has_a_preview(tmp_path: Path) -> None:
    """Two smaller ones beside the original."""
    async with sqlite_shelf(tmp_path) as shelf:
        stored = await shelf.stored(picture(), name="a.png", media_type="image/png")

        assert isinstance(stored, ImageAttachment)
        assert shelf.files() == sorted([stored.id, f"{stored.id}_model", f"{stored.id}_preview"])


@pytest.mark.parametrize("declared", ["image/png", ""])
async def test_a_picture_nobody_can_use_is_a_file(tmp_path: Path, declared: str) -> None:
    """No preview, no error: it was announced as an image, and is none that can be shown."""
    async with sqlite_shelf(tmp_path) as shelf:
        stored = await shelf.stored(b"\x89PNG\r\n\x1a\n damaged", name="a.png", media_type=declared)

        assert isinstance(stored, FileAttachment)
        assert stored.mime_type == "image/png"
        assert shelf.files() == [stored.id]


@pytest.mark.parametrize(
    ("size", "declared", "refusal"),
    [
        (0, "text/plain", Empty),
        (-1, "text/plain", Empty),
        (101, "text/plain", TooLarge),
        (5, "application/x-sh", TypeNotAccepted),
    ],
)
async def test_what_will_not_do_is_not_announced(
    tmp_path: Path, size: int, declared: str, refusal: type[Exception]
) -> None:
    """No row is made."""
    async with sqlite_shelf(tmp_path, max_bytes=100) as shelf:
        with pytest.raises(refusal):
            await shelf.library.announce(name="a", size=size, media_type=declared, owner=ALICE)
        assert await shelf.rows() == {}


@pytest.mark.parametrize(
    ("data", "declared", "refusal"),
    [
        (b"too many", "text/plain", TooLarge),
        (b"few", "text/plain", SizeDiffers),
        (b"", "text/plain", Empty),
        (b"\x00\x01\x02\x03\x04", "text/plain", TypeDiffers),
        (b"words", "image/png", TypeDiffers),
        (b"\x00\x01\x02\x03\x04", "", TypeNotAccepted),
    ],
)
async def test_what_turns_out_not_to_do_is_forgotten(
    tmp_path: Path, data: bytes, declared: str, refusal: type[Exception]
) -> None:
    """Five bytes of the declared type were announced: neither row nor byte stays of anything else."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a", size=5, media_type=declared, owner=ALICE)

        with pytest.raises(refusal):
            await shelf.library.fill(announced.id, pieces_of(data), owner=ALICE)

        assert (await shelf.rows(), shelf.files()) == ({}, [])


async def broken(data: bytes, failure: BaseException) -> AsyncGenerator[bytes, None]:
    yield data
    raise failure


async def test_an_upload_that_broke_off_may_be_tried_again(tmp_path: Path) -> None:
    """Nothing of the first half stays; the second attempt is whole."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        with pytest.raises(ConnectionError):
            await shelf.library.fill(announced.id, broken(b"wo", ConnectionError()), owner=ALICE)
        assert shelf.files() == []

        await shelf.library.fill(announced.id, pieces_of(b"words"), owner=ALICE)

        assert shelf.files() == [announced.id]


async def test_an_attachment_is_uploaded_once(tmp_path: Path) -> None:
    """A second upload changes nothing, not even when both come at once, to two replicas."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        replicas = [shelf.library, build_shelf(shelf.engine, shelf.root).library]

        outcomes = await asyncio.gather(
            *(
                library.fill(announced.id, pieces_of(data), owner=ALICE)
                for library, data in zip(replicas, (b"first", b"other"), strict=True)
            ),
            return_exceptions=True,
        )

        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyUploaded", "FileAttachment"]
        before = [piece async for piece in shelf.library.storage.read(announced.id)]
        with pytest.raises(AlreadyUploaded):
            await shelf.library.fill(announced.id, pieces_of(b"third"), owner=ALICE)
        assert [piece async for piece in shelf.library.storage.read(announced.id)] == before
        assert shelf.files() == [announced.id]


async def test_a_bad_second_upload_does_not_take_the_first_away(tmp_path: Path) -> None:
    """Neither afterwards nor at the same time, in another replica."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        replica = build_shelf(shelf.engine, shelf.root).library

        async def late() -> AsyncGenerator[bytes, None]:
            yield b"\x00"
            await replica.fill(announced.id, pieces_of(b"words"), owner=ALICE)
            yield b"\x00\x00\x00\x00"

        with pytest.raises(TypeNotAccepted):
            await shelf.library.fill(announced.id, late(), owner=ALICE)
        with pytest.raises(AlreadyUploaded):
            await shelf.library.fill(announced.id, pieces_of(b"\x00"), owner=ALICE)

        assert await shelf.rows() == {announced.id: "stored"}
        assert [piece async for piece in shelf.library.storage.read(announced.id)] == [b"words"]


async def test_both_phases_in_one(tmp_path: Path) -> None:
    """The most it may be is reserved while it comes, and what it is counts afterwards."""
    async with sqlite_shelf(tmp_path, quota=100, max_bytes=90) as shelf:
        for _ in range(2):
            added = await shelf.library.add(
                pieces_of(b"words"), name="a", media_type="text/plain", max_bytes=10_000, owner=ALICE
            )
        assert (await shelf.library.find(added.id, ALICE)).size == 5

        await shelf.library.announce(name="a", size=90, media_type="", owner=ALICE)
        with pytest.raises(QuotaExceeded):
            await shelf.library.announce(name="a", size=1, media_type="", owner=ALICE)


@pytest.mark.parametrize("failure", [ConnectionError(), asyncio.CancelledError(), TypeDiffers()])
async def test_a_direct_upload_that_fails_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    """Nobody was told its id, so nobody could try again: the row goes too."""
    async with sqlite_shelf(tmp_path) as shelf:
        with pytest.raises(type(failure)):
            await shelf.library.add(
                broken(b"half", failure), name="a", media_type="text/plain", max_bytes=100, owner=ALICE
            )

        assert (await shelf.rows(), shelf.files()) == ({}, [])


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_nobody_else_can_do_anything_with_it(tmp_path: Path, stranger: Owner) -> None:
    """Upload, find, save, delete: not there; and everything is as it was."""
    async with sqlite_shelf(tmp_path) as shelf:
        pending = await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        stored = await shelf.stored(picture(), media_type="image/png")
        files = shelf.files()

        for work in (
            shelf.library.fill(pending.id, pieces_of(b"words"), owner=stranger),
            shelf.library.find(stored.id, stranger),
            shelf.library.save(stored, stranger),
            shelf.library.delete(stored.id, stranger),
        ):
            with pytest.raises(NotFoundError):
                await work
        await shelf.library.delete_many([stored.id, pending.id], stranger)
        assert await shelf.library.delete_all(stranger) == 0
        assert await shelf.library.find_stored([stored.id], stranger) == {}
        assert await shelf.rows() == {pending.id: "pending", stored.id: "stored"}
        assert shelf.files() == files


async def test_deleting_takes_bytes_and_row(tmp_path: Path) -> None:
    """The original and what was made of it."""
    async with sqlite_shelf(tmp_path) as shelf:
        stored = await shelf.stored(picture(), media_type="image/png")

        await shelf.library.delete(stored.id, ALICE)

        assert (await shelf.rows(), shelf.files()) == ({}, [])
        with pytest.raises(NotFoundError):
            await shelf.library.delete(stored.id, ALICE)


class StuckStore(DirectoryStore):
    """A directory from which nothing can be deleted for a while."""

    is_stuck = True

    async def delete(self, key: str) -> None:
        if self.is_stuck:
            raise StorageUnavailable("read-only file system")
        await super().delete(key)


async def test_a_storage_that_cannot_delete_is_tried_again(tmp_path: Path) -> None:
    """For its owner it is gone at once; the sweeper takes the bytes when it can, and the row after them."""
    async with sqlite_shelf(tmp_path) as shelf:
        stored = await shelf.stored(b"words")
        storage = shelf.library.storage = StuckStore(shelf.root)

        await shelf.library.delete(stored.id, ALICE)
        with pytest.raises(NotFoundError):
            await shelf.library.find(stored.id, ALICE)
        await shelf.library.sweep()
        assert (await shelf.rows(), shelf.files()) == ({stored.id: "deleted"}, [stored.id])
        with pytest.raises(StorageUnavailable):
            await shelf.library.delete_all(ALICE)

        storage.is_stuck = False
        assert await shelf.library.sweep() == 1
        assert (await shelf.rows(), shelf.files()) == ({}, [])


async def test_all_of_a_user_goes_and_nothing_of_others(tmp_path: Path) -> None:
    """Pending, stored, whatever."""
    async with sqlite_shelf(tmp_path) as shelf:
        await shelf.stored(picture(), media_type="image/png")
        await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        others = await shelf.stored(b"words", owner=STRANGERS[2])

        assert await shelf.library.delete_all(ALICE) == 2

        assert (await shelf.rows(), shelf.files()) == ({others.id: "stored"}, [others.id])


@pytest.mark.parametrize(
    ("after", "left"), [(3000, {"pending", "unsent"}), (4000, {"unsent"}), (86_000, {"unsent"}), (87_000, set())]
)
async def test_what_is_overdue_is_swept_away(tmp_path: Path, after: float, left: set[str]) -> None:
    """Announced and not uploaded: an hour. Uploaded and not sent: a day. By the limits' defaults."""
    async with sqlite_shelf(tmp_path) as shelf:
        pending = await shelf.library.announce(name="a", size=5, media_type="", owner=ALICE)
        unsent = await shelf.stored(b"words")
        names = {pending.id: "pending", unsent.id: "unsent"}
        shelf.clock.now += after

        await shelf.library.sweep()

        assert {names[name] for name in await shelf.rows()} == left
        assert shelf.files() == ([unsent.id] if "unsent" in left else [])


def described(attachment: Any) -> tuple[str, str | None]:
    descriptor = attachment.upload_descriptor
    return str(attachment.preview_url), str(descriptor.url) if descriptor else None


async def test_links_are_made_when_shown_and_never_stored(tmp_path: Path) -> None:
    """Good ones out, bare ones in, and back again without end."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a.png", size=5, media_type="image/png", owner=ALICE)
        shown = shelf.library.with_links(announced, ALICE)

        preview, upload = described(shown)
        assert preview.startswith(f"{PUBLIC_URL}/{announced.id}/preview?signature=")
        assert upload
        assert upload.startswith(f"{PUBLIC_URL}/{announced.id}/content?signature=")
        shelf.links.check("GET", announced.id, "preview", preview.partition("?")[2], ALICE)
        shelf.links.check("PUT", announced.id, "content", upload.partition("?")[2], ALICE)
        await shelf.library.save(shown, ALICE)
        assert (await shelf.library.find(announced.id, ALICE)).attachment == announced
        download = shelf.library.download_link(announced.id, ALICE)
        shelf.links.check("GET", announced.id, "content", download.partition("?")[2], ALICE)


async def test_one_upload_at_a_time_into_one_attachment(tmp_path: Path) -> None:
    """A link used a thousand times at once would fill the disk with drafts that no quota counts."""
    async with sqlite_shelf(tmp_path) as shelf:
        announced = await shelf.library.announce(name="a.txt", size=6, media_type="text/plain", owner=ALICE)
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncGenerator[bytes, None]:
            yield b"abc"
            begun.set()
            await go.wait()
            yield b"def"

        first = asyncio.create_task(shelf.library.fill(announced.id, slow(), owner=ALICE))
        await begun.wait()
        with pytest.raises(BeingUploaded):
            await shelf.library.fill(announced.id, pieces_of(b"abcdef"), owner=ALICE)
        assert len(shelf.files()) == 1
        go.set()
        await first

        assert await shelf.rows() == {announced.id: "stored"}


async def test_an_upload_ends_when_its_place_is_given_up(tmp_path: Path) -> None:
    """Whoever sends a byte now and then, and never falls silent, holds a file and a connection no longer than that."""
    async with sqlite_shelf(tmp_path, pending_lifetime=0.05) as shelf:
        announced = await shelf.library.announce(name="a.txt", size=1000, media_type="text/plain", owner=ALICE)

        async def drip() -> AsyncGenerator[bytes, None]:
            while True:
                await asyncio.sleep(0.01)
                yield b"a"

        with pytest.raises(UploadIncomplete):
            await asyncio.wait_for(shelf.library.fill(announced.id, drip(), owner=ALICE), 5)

        assert shelf.files() == []
