"""What the tests of attachments share: pictures, a library on a database and a directory."""

import io
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatkit.types import Attachment
from PIL import Image
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.attachments.directory import DirectoryStore
from agent_backend.attachments.library import AttachmentLibrary
from agent_backend.attachments.limits import AttachmentLimits
from agent_backend.attachments.links import Links
from agent_backend.attachments.records import AttachmentRecords
from agent_backend.attachments.renditions import Renditions
from agent_backend.context import Owner
from agent_backend.store import build_engine
from agent_backend.store.schema import migrate
from agent_backend.store.tables import attachments

KEY = "a-secret-of-at-least-32-characters"
PUBLIC_URL = "https://chat.test/attachments"
ALICE = Owner(issuer="https://login.test", subject="alice")
STRANGERS = [
    Owner(issuer="https://login.test", subject="mallory"),
    Owner(issuer="https://evil.test", subject="alice"),
    Owner(issuer="https://login.test", subject="alice", tenant="acme"),
]


def picture(
    size: tuple[int, int] = (40, 20), *, form: str = "PNG", color: Any = (200, 30, 30), mode: str = "RGB", **save: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, form, **save)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def pieces_of(data: bytes, size: int = 65536) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def files_in(root: Path) -> list[Path]:
    """Everything that is kept or half kept."""
    return sorted(path for path in root.rglob("*") if path.is_file())


@dataclass(slots=True, kw_only=True)
class Shelf:
    """A library, and what is behind it."""

    library: AttachmentLibrary
    records: AttachmentRecords
    links: Links
    engine: AsyncEngine
    root: Path
    clock: "Clock"

    async def rows(self) -> dict[str, str]:
        """The state of every row, by id."""
        async with self.engine.connect() as connection:
            found = await connection.execute(select(attachments.c.id, attachments.c.state))
            return {row.id: row.state for row in found}

    def files(self) -> list[str]:
        return sorted(path.name for path in files_in(self.root))

    async def stored(
        self, data: bytes, *, name: str = "a.txt", media_type: str = "text/plain", owner: Owner = ALICE
    ) -> Attachment:
        """Announced and uploaded."""
        announced = await self.library.announce(name=name, size=len(data), media_type=media_type, owner=owner)
        return await self.library.fill(announced.id, pieces_of(data), owner=owner)


@dataclass(slots=True)
class Clock:
    """The true time, until it is moved."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


def build_shelf(engine: AsyncEngine, root: Path, **limits: Any) -> Shelf:
    given = AttachmentLimits(**limits)
    clock = Clock()
    records = AttachmentRecords(engine=engine)
    links = Links(public_url=PUBLIC_URL, keys=[KEY])
    library = AttachmentLibrary(
        records=records,
        storage=DirectoryStore(root),
        links=links,
        limits=given,
        renditions=Renditions(
            max_pixels=given.max_pixels, edges=(given.preview_edge, given.model_edge), timeout=given.rendition_timeout
        ),
        clock=clock,
    )
    return Shelf(library=library, records=records, links=links, engine=engine, root=root, clock=clock)


@asynccontextmanager
async def sqlite_shelf(folder: Path, **limits: Any) -> AsyncIterator[Shelf]:
    engine = build_engine(f"sqlite:///{folder}/agent.sqlite3")
    await migrate(engine)
    try:
        yield build_shelf(engine, folder / "files", **limits)
    finally:
        await engine.dispose()
