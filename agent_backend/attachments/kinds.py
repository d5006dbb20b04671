"""Which type is this really? Decided by the content; what the client says may only agree.

Rules: pure. A type is accepted when the content begins as that type must, and a text when nothing in it is binary. An
own short table: the known libraries guess among thousands of signatures (a letter that begins with "BM" is a bitmap),
say nothing about texts, and we accept a dozen types. Who says nothing of the type, or that it is just bytes, gets the
type of the content.
"""

from typing import Final, Literal

Kind = Literal["png", "jpeg", "gif", "webp", "pdf", "zip", "text"]

# Media types whose content we can tell, and the kind it must be. Besides these: text/anything.
OFFICE: Final = "application/vnd.openxmlformats-officedocument"
TYPES: Final[dict[str, Kind]] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "application/zip": "zip",
    f"{OFFICE}.wordprocessingml.document": "zip",
    f"{OFFICE}.spreadsheetml.sheet": "zip",
    f"{OFFICE}.presentationml.presentation": "zip",
    "application/json": "text",
    "application/xml": "text",
    "application/yaml": "text",
}
IMAGES: Final[frozenset[Kind]] = frozenset(("png", "jpeg", "gif", "webp"))
# The type of a content of which nothing else was said; also what a download is called, so that no text is a page.
PLAIN: Final[dict[Kind, str]] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "text": "text/plain",
}
# What browsers and systems say instead.
ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/x-yaml": "application/yaml",
    "application/javascript": "text/javascript",
    "application/csv": "text/csv",
    # Windows with Excel calls every .csv this; the old binary format is no kind of ours.
    "application/vnd.ms-excel": "text/csv",
}
UNSAID: Final = frozenset(("", "application/octet-stream", "binary/octet-stream"))
# Bytes that no text has: DEL and the C0 controls, but tab, line feed, form feed, return and escape (coloured logs).
BINARY: Final = bytes(n for n in (*range(32), 127) if n not in (9, 10, 12, 13, 27))
# Bytes that decide: the longest signature is WebP's.
HEAD: Final = 12


def is_known(media_type: str) -> bool:
    """Can it be accepted at all: ``image/png``, ``text/csv``, ``text/*``?"""
    return kind_of(media_type) is not None


def kind_of(media_type: str) -> Kind | None:
    """The kind that content of this type must be."""
    return "text" if media_type.startswith("text/") else TYPES.get(media_type)


def normal(declared: str) -> str:
    """What the client said, without parameters, in lower case, by its usual name; empty when it said nothing."""
    name = declared.partition(";")[0].strip().lower()
    return "" if name in UNSAID else ALIASES.get(name, name)


def is_accepted(media_type: str, accepted: tuple[str, ...]) -> bool:
    return media_type in accepted or (media_type.startswith("text/") and "text/*" in accepted)


def agree(declared: str, kind: Kind | None) -> str | None:
    """The type of this content, or None when it is another than declared, or none we know.

    Args:
        declared: As the client says; see `normal`.
        kind: What the content is.
    """
    if kind is None:
        return None
    name = normal(declared)
    if not name:
        return PLAIN[kind]
    return name if kind_of(name) == kind else None


class Sniffer:
    """Watches a content go by."""

    def __init__(self) -> None:
        self._head = b""
        self._is_text = True

    def feed(self, piece: bytes) -> None:
        if len(self._head) < HEAD:
            self._head += piece[: HEAD - len(self._head)]
        if self._is_text:
            self._is_text = len(piece.translate(None, BINARY)) == len(piece)

    @property
    def kind(self) -> Kind | None:
        """What all of it is; None for what we do not know. A signature goes before text: a PDF may be all ASCII."""
        return kind_of_head(self._head) or ("text" if self._is_text else None)


def kind_of_head(head: bytes) -> Kind | None:
    """By its first bytes. Sources: the formats' specifications; WHATWG MIME Sniffing section 6."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    return None


SIGNATURES: Final[dict[bytes, Kind]] = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"%PDF-": "pdf",
    b"PK\x03\x04": "zip",
}
