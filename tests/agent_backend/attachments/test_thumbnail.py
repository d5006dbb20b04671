"""Smaller pictures of one picture."""

import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from agent_backend.attachments.renditions import SCRIPT
from agent_backend.attachments.thumbnail import shrink
from tests.agent_backend.attachments.world import opened, picture


def one(data: bytes, *, edge: int = 64, max_pixels: int = 1_000_000) -> Image.Image:
    return opened(shrink(data, max_pixels=max_pixels, edges=[edge])[0])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_every_format_we_accept_is_made_smaller(form: str) -> None:
    """One picture per edge, in proportion; none is made larger."""
    made = shrink(picture((400, 200), form=form), max_pixels=1_000_000, edges=[100, 300, 900])

    assert [opened(data).size for data in made] == [(100, 50), (300, 150), (400, 200)]


def test_holes_stay_and_photos_become_jpeg() -> None:
    """PNG where something is transparent, also by palette; JPEG for all else, also from 16 bits and grey."""
    palette = picture(mode="P", color=0, transparency=0)

    assert one(picture(mode="RGBA", color=(1, 2, 3, 0))).format == "PNG"
    assert one(palette).format == "PNG"
    assert [one(picture(mode=mode, color=0)).format for mode in ("RGB", "L", "1", "I;16")] == ["JPEG"] * 4
    assert one(picture(form="JPEG", mode="CMYK", color=0)).format == "JPEG"


def test_nothing_of_the_metadata_goes_out() -> None:
    """Not the place, the camera, a comment, a text or a colour profile."""
    exif = Image.Exif()
    exif[0x010F] = "SECRET camera"
    exif.get_ifd(0x8825)[1] = "SECRET place"
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "SECRET author")
    originals = [
        picture(form="JPEG", exif=exif, comment=b"SECRET comment", icc_profile=b"SECRET profile"),
        picture(form="PNG", exif=exif, pnginfo=texts),
        picture(form="PNG", mode="RGBA", color=(1, 2, 3, 4), exif=exif, pnginfo=texts, icc_profile=b"SECRET"),
        picture(form="WEBP", exif=exif),
        picture(form="GIF", comment=b"SECRET comment"),
    ]

    for original in originals:
        assert b"SECRET" in original or b"iCCP" in original
        for made in shrink(original, max_pixels=1_000_000, edges=[32, 512]):
            assert b"SECRET" not in made
            assert not {"exif", "icc_profile", "comment", "Author"} & set(opened(made).info)


def test_a_photo_stands_upright() -> None:
    """The orientation is the one thing in the metadata that changes what people see."""
    exif = Image.Exif()
    exif[0x0112] = 6

    assert one(picture((40, 20), form="JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_senseless_orientation_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert one(picture((40, 20), form="JPEG", exif=exif)).size == (40, 20)


def test_of_an_animation_the_first_frame() -> None:
    buffer = BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])

    made = one(buffer.getvalue()).convert("RGB")

    red, _, blue = made.getpixel((4, 4))  # type: ignore[misc]  # three channels
    assert red > 200
    assert blue < 50


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


UNUSABLE: dict[str, Any] = {
    "empty": b"",
    "text": b"not a picture",
    "cut": picture((400, 400), color=(1, 2, 3))[:60],
    "too many pixels": picture((1001, 1000)),
    "bomb": bomb(40_000, 40_000),
    "another format": picture(form="BMP"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_ends_the_process_quietly(name: str) -> None:
    """Status 1 and nothing written; a bomb is refused by its head, before a pixel is made."""
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "1000000", "64"], input=UNUSABLE[name], capture_output=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, b"")
    assert len(done.stderr) < 100


def test_the_process_limits_itself_before_it_reads() -> None:
    """Memory by the pixels it may decode, processor time, no core file: as the system sees it."""
    with subprocess.Popen([sys.executable, "-I", str(SCRIPT), "1000000", "64"], stdin=subprocess.PIPE) as process:
        expected = {"address space": 512 * 1024**2 + 12_000_000, "cpu time": 30, "core file size": 0}
        until(lambda: limits_of(process.pid) == expected)


def limits_of(pid: int) -> dict[str, int | None]:
    """The soft limits that were set, from /proc; None for none."""
    lines = Path(f"/proc/{pid}/limits").read_text().lower().splitlines()
    names = ("address space", "cpu time", "core file size")
    found = {name: next(line for line in lines if line.startswith(f"max {name}")).split() for name in names}
    values = {name: words[2 + name.count(" ")] for name, words in found.items()}
    return {name: None if value == "unlimited" else int(value) for name, value in values.items()}


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_memory_is_bounded_by_the_system() -> None:
    """A head that lies about nothing and needs too much is stopped by the limit, not by the machine's end."""
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import thumbnail; thumbnail.limit(1)\n"
        "try: bytearray(2 * 1024**3)\n"
        "except MemoryError: print('refused')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout == b"refused\n"
