"""The table ``[attachments]`` of the settings file.

Rules: off until a directory is set, and then complete: links cannot be made without an address and keys. The bounds and
their reasons are in `limits`; what is set here goes over them.
"""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from agent_backend.attachments.kinds import TYPES, is_known
from agent_backend.attachments.limits import AttachmentLimits, Readable
from agent_backend.attachments.links import UPLOAD_MINUTES, VIEW_MINUTES, UploadMethod

DEFAULTS = AttachmentLimits()


def check_directory(directory: Path) -> Path:
    """It is made when it is not there; its parent is not, because a misspelled mount point must not fill the root."""
    if not directory.parent.is_dir():
        raise ValueError(f"there is no folder {directory.parent}; make it first")
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is no folder")
    return directory


def check_public_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("write it as https://chat.example.com/attachments")
    if not parts.path.strip("/"):
        raise ValueError("it needs the path of the gateway's route: https://chat.example.com/attachments")
    return url.rstrip("/")


def check_type(name: str) -> str:
    if not is_known(name):
        raise ValueError(f"{name!r} cannot be told from its content; known are text/*, {', '.join(TYPES)}")
    return name


class AttachmentSettings(BaseModel):
    """What users may attach, and where it is kept. Off until `directory` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Annotated[Path, AfterValidator(check_directory)] | None = Field(
        default=None, description="where the bytes are kept; shared by all replicas; unset: no attachments"
    )
    public_url: Annotated[str, AfterValidator(check_public_url)] | None = Field(
        default=None, description="where the gateway's prefix route is: https://chat.example.com/attachments"
    )
    url_keys: list[Annotated[SecretStr, Field(min_length=32)]] = Field(
        default_factory=list,
        max_length=4,
        description="secrets of 32 characters or more, the same as the gateway's [signed_urls] keys: oldest first",
    )
    path: str = Field(
        default="/attachments",
        pattern=r"^(/[A-Za-z0-9._~-]+)+$",
        description="of this backend, where the gateway's [backends] url points",
    )
    upload_method: UploadMethod = Field(default="PUT", description="of the upload after attachments.create")
    upload_minutes: int = Field(default=UPLOAD_MINUTES, ge=1, le=7 * 24 * 60, description="an upload link is good for")
    view_minutes: int = Field(
        default=VIEW_MINUTES,
        ge=1,
        le=7 * 24 * 60,
        description="a preview or download link is good for; at most the gateway's max_minutes",
    )
    max_bytes: int = Field(
        default=DEFAULTS.max_bytes, ge=1, description="bytes of one attachment; the gateway's max_body must be above it"
    )
    types: tuple[Annotated[str, AfterValidator(check_type)], ...] = Field(
        default=DEFAULTS.types, min_length=1, description="media types accepted, by content; text/* for all texts"
    )
    quota: int = Field(default=DEFAULTS.quota, ge=1, description="bytes of all attachments of one user")
    max_pending: int = Field(
        default=DEFAULTS.max_pending, ge=1, le=10_000, description="attachments of one user announced, not uploaded"
    )
    upload_timeout: float = Field(
        default=DEFAULTS.upload_timeout, gt=0, le=3600, description="seconds of silence in the middle of an upload"
    )
    pending_lifetime: float = Field(
        default=DEFAULTS.pending_lifetime, ge=60, description="seconds until what is not uploaded is forgotten"
    )
    unsent_lifetime: float = Field(
        default=DEFAULTS.unsent_lifetime, ge=60, description="seconds until what was never sent is deleted"
    )
    sweep_interval: float = Field(default=DEFAULTS.sweep_interval, gt=0, description="seconds between looks for those")
    max_pixels: int = Field(
        default=DEFAULTS.max_pixels, ge=1, le=500_000_000, description="of a picture; a larger one is kept as a file"
    )
    preview_edge: int = Field(
        default=DEFAULTS.preview_edge, ge=16, le=4096, description="pixels of a preview's longer edge"
    )
    model_edge: int = Field(
        default=DEFAULTS.model_edge, ge=16, le=8192, description="pixels of the longer edge of what the model is given"
    )
    rendition_timeout: float = Field(
        default=DEFAULTS.rendition_timeout, gt=0, le=120, description="seconds to make both"
    )
    model_bytes: int = Field(
        default=DEFAULTS.model_bytes, ge=0, description="bytes of all attachments in one model request, newest first"
    )
    model_text: int = Field(default=DEFAULTS.model_text, ge=0, description="bytes of one text the model is given")
    model_kinds: tuple[Readable, ...] = Field(
        default=DEFAULTS.model_kinds, description="what the model can read; the rest is named to it"
    )

    @model_validator(mode="after")
    def has_what_it_needs(self) -> Self:
        if self.directory is not None and self.public_url is None:
            raise ValueError("directory needs public_url too: links are made on the gateway's address")
        if self.directory is not None and not self.url_keys:
            raise ValueError("directory needs url_keys too: links are signed")
        return self

    @property
    def limits(self) -> AttachmentLimits:
        return AttachmentLimits(**{name: getattr(self, name) for name in AttachmentLimits.__slots__})
