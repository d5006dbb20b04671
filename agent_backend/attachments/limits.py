"""Every bound on attachments, with its unit and its reason."""

from dataclasses import dataclass
from typing import Literal

from agent_backend.attachments.kinds import TYPES

Readable = Literal["image", "file", "text"]

# What current models read. Office formats, which many do not, can be added: `kinds.TYPES` has what we can tell.
DEFAULT_TYPES = (*(name for name, kind in TYPES.items() if kind not in ("text", "zip")), "application/json", "text/*")
ALL_READABLE: tuple[Readable, ...] = ("image", "file", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentLimits:
    """What one attachment, and one user's attachments, may cost.

    Attributes:
        types: Media types accepted, ``text/*`` for all texts; a type is what the content is, not what it is called.
        quota: Bytes of one user, all attachments together, those still expected included.
        model_kinds: What the model can read; the rest is named to it.
    """

    # Bytes. A phone's photo has 3 to 12 MB; model vendors refuse files above some 30 MB.
    max_bytes: int = 20 * 1024 * 1024
    types: tuple[str, ...] = DEFAULT_TYPES
    # Bytes. A thousand documents, or a hundred photos.
    quota: int = 500 * 1024 * 1024
    # Twice what a message has room for.
    max_pending: int = 20
    # Seconds of silence in the middle of an upload: as long as the gateway waits.
    upload_timeout: float = 30.0
    # Seconds. An upload of the largest file over a bad line takes minutes; one that takes longer is ended.
    pending_lifetime: float = 3600.0
    # Seconds. A message left unsent over night still has its attachments in the morning.
    unsent_lifetime: float = 24 * 3600.0
    # Seconds. Nothing that is swept is in anybody's way; a query every few minutes costs nothing.
    sweep_interval: float = 300.0
    # Pixels. Phones make 50 million; each costs up to 12 bytes of memory while it is made smaller.
    max_pixels: int = 50_000_000
    # Pixels of the longer edge: twice what ChatKit shows, for dense screens.
    preview_edge: int = 512
    # Pixels of the longer edge: vendors scale down to about this themselves.
    model_edge: int = 1536
    # Seconds. Fifty million pixels take two on an idle machine.
    rendition_timeout: float = 20.0
    # Bytes. Base64 adds a third, and the request is sent anew with every turn.
    model_bytes: int = 8 * 1024 * 1024
    # Bytes of one text: about 25,000 tokens.
    model_text: int = 100_000
    model_kinds: tuple[Readable, ...] = ALL_READABLE
