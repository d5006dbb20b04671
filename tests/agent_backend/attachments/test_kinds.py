"""Which type is this really?"""

import pytest

from agent_backend.attachments.kinds import TYPES, Sniffer, agree, is_accepted, is_known, kind_of, normal
from agent_backend.attachments.limits import DEFAULT_TYPES

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


def sniffed(content: bytes, size: int = 1) -> str | None:
    """The kind, seen in pieces of ``size`` bytes."""
    sniffer = Sniffer()
    for start in range(0, len(content), size):
        sniffer.feed(content[start : start + size])
    return sniffer.kind


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "jpeg"),
        (b"GIF89a\x01\x00", "gif"),
        (b"GIF87a\x01\x00", "gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", None),
        (b"%PDF-1.7\nall ASCII", "pdf"),
        (b" %PDF-1.7", "text"),
        (b"PK\x03\x04\x14\x00", "zip"),
        ("Grüße, 世界\n\t\x1b[1mbold\x1b[0m".encode(), "text"),
        ("Grüße".encode("cp1252"), "text"),
        (b"BM is how this letter begins", "text"),
        (b"\x7fELF\x02\x01\x01\x00", None),
        (b"text, and after a thousand bytes" + bytes(1), None),
        (b"<html><script>alert(1)</script>", "text"),
    ],
)
def test_the_content_decides(content: bytes, kind: str | None, size: int) -> None:
    """By signature, else text when nothing in it is binary; however it is cut into pieces."""
    assert sniffed(content, size) == kind


def test_one_binary_byte_far_behind_is_seen() -> None:
    """A text is judged by all of it, not by its beginning."""
    sniffer = Sniffer()
    for _ in range(100):
        sniffer.feed(b"x" * 65536)
    assert sniffer.kind == "text"

    sniffer.feed(b"\x00")

    assert sniffer.kind is None


@pytest.mark.parametrize(
    ("declared", "kind", "agreed"),
    [
        ("image/png", "png", "image/png"),
        ("IMAGE/PNG; q=1", "png", "image/png"),
        ("image/jpg", "jpeg", "image/jpeg"),
        ("image/png", "jpeg", None),
        ("image/png", "text", None),
        ("image/svg+xml", "text", None),
        ("text/plain", "pdf", None),
        ("text/csv", "text", "text/csv"),
        ("application/json", "text", "application/json"),
        ("application/vnd.ms-excel", "text", "text/csv"),
        ("application/vnd.ms-excel", "zip", None),
        ("", "webp", "image/webp"),
        ("application/octet-stream", "text", "text/plain"),
        ("", None, None),
        ("application/x-msdownload", None, None),
    ],
)
def test_what_was_declared_may_only_agree(declared: str, kind: str | None, agreed: str | None) -> None:
    """Who declares nothing gets the type of the content; who declares another gets none."""
    assert agree(declared, kind) == agreed  # type: ignore[arg-type]  # plain texts stand in the table


def test_the_default_types_can_all_be_told() -> None:
    """No type is accepted that nobody can check; pages and programs in images are not among them."""
    assert all(is_known(name) for name in DEFAULT_TYPES)
    assert all(kind_of(name) == kind for name, kind in TYPES.items())
    assert is_accepted("text/x-python", DEFAULT_TYPES)
    assert not is_accepted("image/svg+xml", DEFAULT_TYPES)
    assert not is_accepted("application/zip", DEFAULT_TYPES)


def test_parameters_and_nothing_said() -> None:
    """Parameters are no part of a type; "just bytes" says nothing."""
    assert [normal(name) for name in ("Text/Plain; charset=utf-8", "application/octet-stream", " ")] == [
        "text/plain",
        "",
        "",
    ]
