"""Smaller pictures of one picture. Runs alone, as a process with bounds: what a file does to a decoder, it does here.

    python thumbnail.py MAX_PIXELS EDGE EDGE …  < picture  > for each edge: length in four bytes, big-endian; picture

Rules: only the four formats, judged by the decoder itself; the size is read and judged before a pixel is decoded;
memory and processor time are limited by the system. Of the metadata only the orientation is used, and nothing of it
goes out: not the place a photo was taken, not a comment, not a colour profile. Of an animation the first frame. What
has holes becomes PNG, the rest JPEG. Exit status 1 for what is no usable picture. Imports nothing of ours.
"""

import io
import resource
import sys
import warnings

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# Bytes per pixel: the decoded picture, its turned or converted copy, and the encoder's.
PIXEL_MEMORY = 12
# Bytes for interpreter, libraries and the file itself.
BASE_MEMORY = 512 * 1024 * 1024
# Seconds of processor time, in case whoever started us does not stop us.
MAX_CPU = 30
QUALITY = 85


def main(arguments: list[str]) -> int:
    max_pixels, *edges = (int(argument) for argument in arguments)
    limit(max_pixels)
    try:
        made = shrink(sys.stdin.buffer.read(), max_pixels=max_pixels, edges=edges)
    except Exception as exc:  # decoders raise whatever they like: of the file nothing can be used
        print(type(exc).__name__, file=sys.stderr)
        return 1
    for picture in made:
        sys.stdout.buffer.write(len(picture).to_bytes(4, "big") + picture)
    return 0


def limit(max_pixels: int) -> None:
    """Let the system refuse more than this many bytes and seconds."""
    memory = BASE_MEMORY + max_pixels * PIXEL_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def shrink(data: bytes, *, max_pixels: int, edges: list[int]) -> list[bytes]:
    """One picture per edge, none longer than it and none larger than the original. Raises for what cannot be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the very size that is judged on the next line
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise ValueError(f"{image.width} x {image.height} pixels")
    # A JPEG decodes straight to a half, a quarter or an eighth, and needs that much less time and memory.
    image.draft("RGB", (max(edges), max(edges)))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    # The largest one first, and everything else from that: each further look at all the pixels takes seconds.
    image.thumbnail((max(edges), max(edges)))
    image = ImageOps.exif_transpose(image)
    image.info = {}
    return [encode(image, edge) for edge in edges]


def encode(image: Image.Image, edge: int) -> bytes:
    smaller = image.copy()
    smaller.thumbnail((edge, edge))
    buffer = io.BytesIO()
    if smaller.mode == "RGBA":
        smaller.save(buffer, "PNG")
    else:
        smaller.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
