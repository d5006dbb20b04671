"""Everything that attachments are made of, put together once; or nothing of it, while they are off."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from chatkit.store import AttachmentStore
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Route

from agent_backend.attachments.chatkit import AttachmentDesk, LinkedStore
from agent_backend.attachments.directory import DirectoryStore
from agent_backend.attachments.endpoints import AttachmentEndpoints
from agent_backend.attachments.library import AttachmentLibrary
from agent_backend.attachments.links import Links
from agent_backend.attachments.reading import AttachmentReader
from agent_backend.attachments.records import AttachmentRecords
from agent_backend.attachments.refusals import StorageUnavailable
from agent_backend.attachments.renditions import Renditions
from agent_backend.attachments.settings import AttachmentSettings
from agent_backend.context import RequestContext
from agent_backend.conversion import PrepareAttachments
from agent_backend.store import SqlStore
from agent_backend.trust import GatewayTrust

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentParts:
    """What the rest of the backend is given.

    Attributes:
        store: For threads and items, with links in them if there are attachments.
        desk: What ChatKitServer asks; None: it is told that attachments are not supported.
        prepare: Chooses what the model is given of some items' attachments.
        routes: Where bytes go in and out.
        library: None while attachments are off.
    """

    store: SqlStore
    desk: AttachmentStore[RequestContext] | None = None
    prepare: PrepareAttachments | None = None
    routes: Sequence[Route] = ()
    library: AttachmentLibrary | None = None

    async def check(self) -> str:
        """For readiness: ``ok``, ``off`` or ``unavailable``."""
        if self.library is None:
            return "off"
        try:
            await self.library.storage.check()
        except StorageUnavailable as exc:
            logger.warning("attachments cannot be stored", extra={"error": str(exc)})
            return "unavailable"
        return "ok"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The sweeper beside everything else; the directory is looked at first, so that its log line comes at start."""
        await self.check()
        if self.library is None:
            yield
            return
        sweeper = asyncio.create_task(sweep_again_and_again(self.library))
        try:
            yield
        finally:
            sweeper.cancel()
            await asyncio.wait([sweeper])


async def sweep_again_and_again(library: AttachmentLibrary) -> None:
    while True:
        try:
            swept = await library.sweep()
            if swept:
                logger.info("attachments swept away", extra={"count": swept})
        except Exception:  # the database or the disk is away for a while: the next sweep finds what this one left
            logger.exception("attachments could not be swept")
        await asyncio.sleep(library.limits.sweep_interval)


def build_library(settings: AttachmentSettings, *, engine: AsyncEngine) -> AttachmentLibrary | None:
    """Rows and bytes, for whoever needs no endpoints: a command that deletes a user's data, for example."""
    links = build_links(settings)
    if settings.directory is None or links is None:
        return None
    limits = settings.limits
    return AttachmentLibrary(
        records=AttachmentRecords(engine=engine),
        storage=DirectoryStore(settings.directory),
        links=links,
        limits=limits,
        renditions=Renditions(
            max_pixels=limits.max_pixels,
            edges=(limits.preview_edge, limits.model_edge),
            timeout=limits.rendition_timeout,
        ),
    )


def build_links(settings: AttachmentSettings) -> Links | None:
    if settings.public_url is None or not settings.url_keys:
        return None
    return Links(
        public_url=settings.public_url,
        keys=[key.get_secret_value() for key in settings.url_keys],
        upload_method=settings.upload_method,
        upload_minutes=settings.upload_minutes,
        view_minutes=settings.view_minutes,
    )


def build_attachments(settings: AttachmentSettings, *, engine: AsyncEngine, trust: GatewayTrust) -> AttachmentParts:
    library, links = build_library(settings, engine=engine), build_links(settings)
    if library is None or links is None:
        return AttachmentParts(store=SqlStore(engine=engine))
    endpoints = AttachmentEndpoints(trust=trust, library=library, links=links, path=settings.path)
    return AttachmentParts(
        store=LinkedStore(engine=engine, library=library),
        desk=AttachmentDesk(library),
        prepare=AttachmentReader(library).prepare,
        routes=endpoints.routes(),
        library=library,
    )
