"""The one file in a form, as a stream: ``multipart/form-data`` with a `file` field, as ChatKit's client sends it.

Rules: the parser is python-multipart's, which Starlette uses too; not Starlette's own form, which writes the whole body
to a temporary file before anybody can say it is too long. Exactly one file; other fields are skipped, within a bound. A
form that does not end properly is an upload that did not. Knows nothing of storages or limits on files.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agent_backend.attachments.refusals import FormInvalid, UploadIncomplete

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = b"file"
# Bytes of everything in the form that is not the file: boundaries, headers, small fields.
MAX_REST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """The file: its name and type as the client says, its bytes as they come."""

    name: str
    media_type: str
    pieces: AsyncGenerator[bytes, None]


def is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


async def read_form(pieces: AsyncIterator[bytes], content_type: str) -> FormFile:
    """Read up to the file. Raises `FormInvalid`, `UploadIncomplete`; so does reading the file's pieces."""
    form = Form(content_type)
    async for piece in pieces:
        form.feed(piece)
        if form.name is not None:
            break
    if form.name is None:
        raise FormInvalid("no file in the form") if form.is_ended else UploadIncomplete("the form has no end")
    return FormFile(name=form.name, media_type=form.media_type, pieces=file_pieces(form, pieces))


async def file_pieces(form: "Form", pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    for ready in form.take():
        yield ready
    async for piece in pieces:
        form.feed(piece)
        for ready in form.take():
            yield ready
    if not form.is_ended:
        raise UploadIncomplete("the form has no end")


class Form:
    """Watches a form go by. ``name`` is None until the file begins."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        self.name: str | None = None
        self.media_type = ""
        self.is_ended = False
        self._is_in_file = False
        self._pieces: list[bytes] = []
        self._rest = 0
        self._headers: dict[bytes, bytes] = {}
        self._header: tuple[bytes, bytes] = (b"", b"")
        try:
            self._parser = MultipartParser(options.get(b"boundary", b""), self._callbacks())
        except FormParserError as exc:
            raise FormInvalid(str(exc)) from exc
        if not options.get(b"boundary"):
            raise FormInvalid("no boundary")

    def feed(self, piece: bytes) -> None:
        self._rest += len(piece)
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise FormInvalid(str(exc)) from exc
        if self._rest > MAX_REST:
            raise FormInvalid(f"more than {MAX_REST} bytes beside the file")

    def take(self) -> list[bytes]:
        """The file's bytes since the last call."""
        taken, self._pieces = self._pieces, []
        return taken

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._headers = {}

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = (b"", b"")

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") != FIELD or b"filename" not in options:
            return
        if self.name is not None:
            raise FormInvalid("more than one file")
        self.name = options[b"filename"].decode("utf-8", "replace")
        self.media_type = self._headers.get(b"content-type", b"").decode("latin-1")
        self._is_in_file = True

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_in_file:
            self._rest -= end - start
            self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        self._is_in_file = False

    def _end(self) -> None:
        self.is_ended = True
