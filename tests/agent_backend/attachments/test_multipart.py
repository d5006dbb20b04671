"""The one file in a form, as a stream."""

from collections.abc import AsyncGenerator

import pytest

from agent_backend.attachments.multipart import MAX_REST, is_form, read_form
from agent_backend.attachments.refusals import FormInvalid, UploadIncomplete

TYPE = "multipart/form-data; boundary=B0"


def part(data: bytes, *, name: str = "file", filename: str | None = "a.txt", media_type: str = "text/plain") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--B0\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {media_type}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = b"--B0--\r\n"


async def cut(body: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, *, size: int = 100_000, content_type: str = TYPE) -> tuple[str, str, bytes]:
    form = await read_form(cut(body, size), content_type)
    return form.name, form.media_type, b"".join([piece async for piece in form.pieces])


@pytest.mark.parametrize("size", [1, 13, 100_000])
async def test_the_file_comes_out_as_it_went_in(size: int) -> None:
    """However it is cut, with fields around it, and with what looks like a boundary inside."""
    data = b"\r\n--B\r\n--B1\x00\xff\r\n" * 20
    field = part(b"value", name="note", filename=None)

    assert await read(field + part(data, filename="ü b.txt", media_type="image/png") + field + END, size=size) == (
        "ü b.txt",
        "image/png",
        data,
    )


async def test_the_file_is_there_before_the_form_ends() -> None:
    """A stream: the first piece of the file is handed on while the rest is still to come."""
    read_so_far = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal read_so_far
        for piece in (part(b"first" * 100)[:-2], b"second", b"\r\n" + END):
            read_so_far += 1
            yield piece

    form = await read_form(pieces(), TYPE)

    assert await anext(form.pieces) != b""
    assert read_so_far == 1


@pytest.mark.parametrize(
    ("body", "content_type", "failure"),
    [
        (part(b"x") + part(b"y") + END, TYPE, FormInvalid),
        (part(b"x", name="other") + END, TYPE, FormInvalid),
        (part(b"x", filename=None) + END, TYPE, FormInvalid),
        (END, TYPE, FormInvalid),
        (b"no form at all", TYPE, FormInvalid),
        (part(b"x") + END, "multipart/form-data", FormInvalid),
        (part(b"x") + END, "multipart/form-data; boundary=" + "b" * 10_000, FormInvalid),
        (part(b"x", name="note", filename=None) * 2000 + part(b"x") + END, TYPE, FormInvalid),
        (part(b"x" * MAX_REST, name="note", filename=None) + part(b"x") + END, TYPE, FormInvalid),
        (part(b"x", filename="f" * 100_000) + END, TYPE, FormInvalid),
        (part(b"x"), TYPE, UploadIncomplete),
        (part(b"x")[:-3], TYPE, UploadIncomplete),
        (b"", TYPE, UploadIncomplete),
    ],
)
async def test_anything_but_one_whole_file_is_refused(body: bytes, content_type: str, failure: type[Exception]) -> None:
    """Two files, none, no form, no boundary, endless fields and headers, a form without its end."""
    with pytest.raises(failure):
        await read(body, content_type=content_type, size=4096)


def test_a_form_is_known_by_its_type() -> None:
    assert [is_form(name) for name in (TYPE, "Multipart/Form-Data;boundary=x", "image/png", "")] == [
        True,
        True,
        False,
        False,
    ]
