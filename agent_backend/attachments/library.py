"""The whole life of an attachment: announced, uploaded, shown, deleted. Row and bytes together.

Rules: the row is there first and goes last, so that no byte is ever without an owner, whatever crashes when. Bytes get
their key inside the transaction that says they are there. Deleting marks the row, then takes the bytes, then the row; a
storage that fails in between is tried again by the sweeper. Everything a user's request leads to is filtered by owner.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

from chatkit.store import NotFoundError
from chatkit.types import Attachment, AttachmentUploadDescriptor, FileAttachment, ImageAttachment
from pydantic import AnyUrl

from agent_backend.attachments.kinds import IMAGES, kind_of, normal
from agent_backend.attachments.limits import AttachmentLimits
from agent_backend.attachments.links import Links
from agent_backend.attachments.names import clean_name
from agent_backend.attachments.records import AttachmentRecords, Record
from agent_backend.attachments.refusals import (
    AlreadyUploaded,
    AttachmentRefused,
    BeingUploaded,
    Empty,
    SizeDiffers,
    StorageUnavailable,
    TooLarge,
    UploadIncomplete,
)
from agent_backend.attachments.renditions import Renditions
from agent_backend.attachments.storage import ByteStore, Draft
from agent_backend.attachments.uploads import Received, check_declared, decide_type, receive
from agent_backend.context import Owner
from agent_backend.store.ids import new_id
from agent_backend.tasks import to_the_end

# What is kept besides the file itself: under its id and one of these words, in the order of the renditions' edges.
RENDITIONS = ("preview", "model")

logger = logging.getLogger(__name__)


class AttachmentLibrary:
    """Everybody's attachments.

    Args:
        limits: Checked here, whoever asks.
        renditions: Makes two pictures of one: a preview, and what the model is given.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        records: AttachmentRecords,
        storage: ByteStore,
        links: Links,
        limits: AttachmentLimits,
        renditions: Renditions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self.storage = storage
        self._records = records
        self._links = links
        self._renditions = renditions
        self._clock = clock
        # Attachments whose bytes are coming in, here.
        self._uploading: set[str] = set()

    def __repr__(self) -> str:
        return f"<AttachmentLibrary {self.storage!r} {self._links!r}>"

    async def announce(self, *, name: str, size: int, media_type: str, owner: Owner) -> Attachment:
        """Phase one of an upload: a pending attachment, whose link takes exactly ``size`` bytes."""
        if size < 1:
            raise Empty(f"{size} bytes")
        if size > self.limits.max_bytes:
            raise TooLarge(f"{size} bytes, at most {self.limits.max_bytes}")
        check_declared(media_type, self.limits.types)
        declared = normal(media_type)
        attachment = self._attachment(new_id("attachment"), name, declared, is_image=kind_of(declared) in IMAGES)
        descriptor = AttachmentUploadDescriptor(
            url=AnyUrl(self._links.place(attachment.id, "content")), method=self._links.upload_method
        )
        attachment = attachment.model_copy(update={"upload_descriptor": descriptor})
        await self._reserve(attachment, size, owner)
        return attachment

    async def fill(
        self, attachment_id: str, pieces: AsyncIterator[bytes], *, owner: Owner, is_whole: bool = True
    ) -> Attachment:
        """Phase two: the bytes. What cannot be accepted is forgotten altogether; what broke off may be tried again.

        Args:
            is_whole: The announced size is the true one, not only the most.
        """
        record = await self._records.find(attachment_id, owner)
        if record.is_stored:
            raise AlreadyUploaded(attachment_id)
        # One at a time: a link opened a thousand times would fill the disk with drafts, which no quota counts.
        if attachment_id in self._uploading:
            raise BeingUploaded(attachment_id)
        self._uploading.add(attachment_id)
        try:
            async with self.storage.draft() as draft:
                received = await self._receive(pieces, draft, max_bytes=record.size)
                if is_whole and received.size != record.size:
                    raise SizeDiffers(f"{received.size} bytes, announced were {record.size}")
                return await self._keep(record.attachment, draft, received, owner)
        except AttachmentRefused:
            await to_the_end(self._abandon(attachment_id, owner))
            raise
        finally:
            self._uploading.discard(attachment_id)

    async def add(
        self, pieces: AsyncIterator[bytes], *, name: str, media_type: str, max_bytes: int, owner: Owner
    ) -> Attachment:
        """Both phases in one. ``max_bytes`` are reserved until it is known how many there are."""
        check_declared(media_type, self.limits.types)
        attachment = self._attachment(new_id("attachment"), name, normal(media_type), is_image=False)
        await self._reserve(attachment, min(max_bytes, self.limits.max_bytes), owner)
        try:
            return await self.fill(attachment.id, pieces, owner=owner, is_whole=False)
        except BaseException:  # a cancellation too: nobody was told its id, so nobody will try again
            await to_the_end(self._abandon(attachment.id, owner))
            raise

    async def find(self, attachment_id: str, owner: Owner) -> Record:
        return await self._records.find(attachment_id, owner)

    async def find_stored(self, attachment_ids: Collection[str], owner: Owner) -> dict[str, Record]:
        """Those of them whose bytes are there, by id."""
        found = await self._records.find_many(attachment_ids, owner)
        return {name: record for name, record in found.items() if record.is_stored}

    async def save(self, attachment: Attachment, owner: Owner) -> None:
        await self._records.save(self.without_links(attachment), owner)

    async def delete(self, attachment_id: str, owner: Owner) -> None:
        """The owner's, or NotFoundError; then the bytes, then the row."""
        await self._records.doom(attachment_id, owner)
        await self._remove(attachment_id)

    async def delete_many(self, attachment_ids: Collection[str], owner: Owner) -> None:
        """Those that are still there."""
        for attachment_id in attachment_ids:
            try:
                await self.delete(attachment_id, owner)
            except NotFoundError:
                continue

    async def ids_in_thread(self, thread_id: str, owner: Owner) -> Collection[str]:
        return await self._records.ids_in_thread(thread_id, owner)

    async def delete_all(self, owner: Owner) -> int:
        """Everything of one owner's; how many there were."""
        count = 0
        while doomed := await self._records.doom_all(owner):
            for attachment_id in doomed:
                if not await self._remove(attachment_id):
                    raise StorageUnavailable(f"attachment {attachment_id} could not be deleted; try again")
            count += len(doomed)
        return count

    async def sweep(self) -> int:
        """Take away what is overdue, and what a crash or a failing storage left behind; how many rows."""
        now = self._clock()
        doomed = await self._records.doom_overdue(
            pending_before=datetime.fromtimestamp(now - self.limits.pending_lifetime, UTC),
            unsent_before=datetime.fromtimestamp(now - self.limits.unsent_lifetime, UTC),
        )
        for attachment_id in doomed:
            await self._remove(attachment_id)
        await self.storage.sweep(older_than=self.limits.pending_lifetime)
        return len(doomed)

    def with_links(self, attachment: Attachment, owner: Owner) -> Attachment:
        """As a client is shown it: its links good from now on."""
        changes: dict[str, object] = {}
        if isinstance(attachment, ImageAttachment):
            changes["preview_url"] = AnyUrl(self._links.preview(attachment.id, owner))
        if attachment.upload_descriptor:
            url = AnyUrl(self._links.upload(attachment.id, owner))
            method = self._links.upload_method
            changes["upload_descriptor"] = AttachmentUploadDescriptor(url=url, method=method)
        return attachment.model_copy(update=changes)

    def without_links(self, attachment: Attachment) -> Attachment:
        """As it is stored: a permission in a database would outlive its minutes in every backup."""
        changes: dict[str, object] = {}
        if isinstance(attachment, ImageAttachment):
            changes["preview_url"] = AnyUrl(self._links.place(attachment.id, "preview"))
        if attachment.upload_descriptor:
            url = AnyUrl(self._links.place(attachment.id, "content"))
            changes["upload_descriptor"] = attachment.upload_descriptor.model_copy(update={"url": url})
        return attachment.model_copy(update=changes)

    def download_link(self, attachment_id: str, owner: Owner) -> str:
        """For a widget or a page: whoever has it may download the file, until its minutes are over."""
        return self._links.download(attachment_id, owner)

    async def _receive(self, pieces: AsyncIterator[bytes], draft: Draft, *, max_bytes: int) -> Received:
        """Within the time its place is kept: a byte now and then would hold a file and a connection for years."""
        limit = asyncio.timeout(self.limits.pending_lifetime)
        try:
            async with limit:
                return await receive(pieces, draft, max_bytes=max_bytes)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise UploadIncomplete(f"not whole within {self.limits.pending_lifetime:g} s") from exc

    async def _abandon(self, attachment_id: str, owner: Owner) -> None:
        """Forget what was announced; not what another upload has stored meanwhile."""
        with suppress(NotFoundError):
            await self._records.doom_pending(attachment_id, owner)
            await self._remove(attachment_id)

    async def _reserve(self, attachment: Attachment, size: int, owner: Owner) -> None:
        await self._records.reserve(
            attachment, size=size, owner=owner, quota=self.limits.quota, max_pending=self.limits.max_pending
        )

    async def _keep(self, attachment: Attachment, draft: Draft, received: Received, owner: Owner) -> Attachment:
        """Name the draft, its pictures with it, and say so in the row."""
        media_type = decide_type(attachment.mime_type, received, self.limits.types)
        made = await self._renditions.make(draft.read) if received.kind in IMAGES else None
        kept = self._attachment(attachment.id, attachment.name, media_type, is_image=bool(made))
        async with AsyncExitStack() as stack:
            drafts = {attachment.id: draft}
            for word, data in zip(RENDITIONS, made or (), strict=False):
                smaller = await stack.enter_async_context(self.storage.draft())
                await smaller.write(data)
                await smaller.seal()
                drafts[rendition_key(attachment.id, word)] = smaller
            await to_the_end(self._store(kept, drafts, size=received.size, owner=owner))
        return kept

    async def _store(self, attachment: Attachment, drafts: Mapping[str, Draft], *, size: int, owner: Owner) -> None:
        try:
            async with self._records.storing(attachment, size=size, owner=owner):
                for key, draft in drafts.items():
                    await draft.keep(key)
        except NotFoundError:
            # Not pending any more: deleted meanwhile, or another upload was quicker.
            await self._records.find(attachment.id, owner)
            raise AlreadyUploaded(attachment.id) from None

    async def _remove(self, attachment_id: str) -> bool:
        """Bytes, then row. A storage that cannot keeps the row, for the sweeper."""
        try:
            for key in (attachment_id, *(rendition_key(attachment_id, word) for word in RENDITIONS)):
                await self.storage.delete(key)
        except StorageUnavailable as exc:
            logger.warning("an attachment's bytes could not be deleted", extra={"error": str(exc)})
            return False
        await self._records.forget(attachment_id)
        return True

    def _attachment(self, attachment_id: str, name: str, media_type: str, *, is_image: bool) -> Attachment:
        """An image is what has a preview."""
        facts = {
            "id": attachment_id,
            "name": clean_name(name),
            "mime_type": media_type or "application/octet-stream",
        }
        if not is_image:
            return FileAttachment(**facts)
        return ImageAttachment(**facts, preview_url=AnyUrl(self._links.place(attachment_id, "preview")))


def rendition_key(attachment_id: str, word: str) -> str:
    return f"{attachment_id}_{word}"
