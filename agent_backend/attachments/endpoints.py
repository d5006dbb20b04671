"""What answers where, below one path that the gateway routes here unread.

    POST  /attachments                 a form with a `file`, by cookie: direct upload; the attachment's JSON back
    GET   /attachments?id=ID           by cookie: fresh links to an attachment, for a page that shows or saves it
    PUT   /attachments/ID/content      by link (POST too): the bytes of an announced attachment
    GET   /attachments/ID/content      by link: download
    GET   /attachments/ID/preview      by link: a small picture of our own making

Rules: the assertion says who, as everywhere, but nothing about the body, which is streamed; a link is checked again
besides. What belongs to somebody else is not there. A download is saved and never shown, under a type that runs
nowhere; inline goes only what we encoded ourselves.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from chatkit.store import NotFoundError
from chatkit.types import Attachment, ImageAttachment
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent_backend.access_log import notes_of
from agent_backend.attachments.kinds import PLAIN, kind_of
from agent_backend.attachments.library import AttachmentLibrary, rendition_key
from agent_backend.attachments.links import Links
from agent_backend.attachments.multipart import MAX_REST, is_form, read_form
from agent_backend.attachments.names import as_download
from agent_backend.attachments.ranges import Unsatisfiable, find_span
from agent_backend.attachments.records import Record
from agent_backend.attachments.refusals import FormInvalid, TooLarge
from agent_backend.attachments.renditions import media_type_of
from agent_backend.attachments.storage import BytesMissing
from agent_backend.attachments.uploads import body_pieces
from agent_backend.context import Owner
from agent_backend.problems import NotFound, Problem
from agent_backend.trust import GatewayTrust

# The gateway says the same of all it passes through; whoever comes without one hears it too.
INERT = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
# A link is good for an hour; a page that is drawn again needs no second fetch.
CACHED = "private, max-age=600"

Work = Callable[[Request, Owner], Awaitable[Response]]

logger = logging.getLogger(__name__)


class AttachmentEndpoints:
    """Bytes in, bytes out.

    Args:
        path: Of ours, where the gateway's backend URL points.
    """

    def __init__(self, *, trust: GatewayTrust, library: AttachmentLibrary, links: Links, path: str) -> None:
        self._trust = trust
        self._library = library
        self._links = links
        self._path = path

    def routes(self) -> list[Route]:
        below = f"{self._path}/{{attachment_id}}"
        return [
            self._route(self._path, "POST", self._add),
            self._route(self._path, "GET", self._list_links),
            self._route(f"{below}/content", "PUT", self._fill),
            self._route(f"{below}/content", "POST", self._fill),
            self._route(f"{below}/content", "GET", self._download),
            self._route(f"{below}/preview", "GET", self._preview),
        ]

    def _route(self, path: str, method: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            notes = notes_of(request.scope)
            notes["operation"] = f"attachments{work.__name__}"
            try:
                context = await self._trust.authenticate_unread(request)
                notes.update(request_id=context.request_id, user=context.user.digest)
                return await work(request, context.owner)
            except (NotFoundError, BytesMissing) as exc:
                problem: Problem = NotFound(str(exc))
            except Problem as exc:
                problem = exc
            except Exception:
                logger.exception("a request failed", extra={"request_id": notes.get("request_id")})
                problem = Problem()
            notes.update(code=problem.code, reason=str(problem)[:200])
            return problem.response(str(notes.get("request_id") or "") or request.headers.get("x-request-id"))

        return Route(path, answer, methods=[method])

    async def _add(self, request: Request, owner: Owner) -> Response:
        """Direct upload."""
        content_type = request.headers.get("content-type", "")
        if not is_form(content_type):
            raise FormInvalid(f"content-type {content_type!r:.100}")
        limit = self._library.limits.max_bytes
        length = int(request.headers.get("content-length", limit))
        if length > limit + MAX_REST:
            raise TooLarge(f"a form of {length} bytes, at most {limit} for the file")
        form = await read_form(self._body(request), content_type)
        added = await self._library.add(
            form.pieces, name=form.name, media_type=form.media_type, max_bytes=length, owner=owner
        )
        return self._shown(added, owner)

    async def _fill(self, request: Request, owner: Owner) -> Response:
        """Second phase of an upload: the file itself, or a form with it, which older clients send."""
        attachment_id = self._permitted(request, "content", owner)
        content_type = request.headers.get("content-type", "")
        pieces: AsyncIterator[bytes] = self._body(request)
        if is_form(content_type):
            pieces = (await read_form(pieces, content_type)).pieces
        return self._shown(await self._library.fill(attachment_id, pieces, owner=owner), owner)

    async def _list_links(self, request: Request, owner: Owner) -> Response:
        record = await self._stored(request.query_params.get("id", ""), owner)
        attachment = self._library.with_links(record.attachment, owner)
        facts = {"id": attachment.id, "name": attachment.name, "mime_type": attachment.mime_type, "size": record.size}
        facts["download_url"] = self._links.download(attachment.id, owner)
        if isinstance(attachment, ImageAttachment):
            facts["preview_url"] = str(attachment.preview_url)
        return JSONResponse(facts, headers={"cache-control": "no-store"})

    async def _download(self, request: Request, owner: Owner) -> Response:
        record = await self._stored(self._permitted(request, "content", owner), owner)
        attachment_id, size = record.attachment.id, await self._library.storage.size(record.attachment.id)
        headers = {
            **INERT,
            "content-type": PLAIN.get(kind_of(record.attachment.mime_type) or "zip", "application/octet-stream"),
            "content-disposition": as_download(record.attachment.name),
            "cache-control": CACHED,
            "accept-ranges": "bytes",
            "etag": f'"{attachment_id}"',  # its bytes never change
        }
        try:
            span = find_span(asked_range(request, headers["etag"]), size)
        except Unsatisfiable:
            return Response(status_code=416, headers={**INERT, "content-range": f"bytes */{size}"})
        start, length = (span.start, span.length) if span else (0, size)
        headers["content-length"] = str(length)
        if span:
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
        status = 206 if span else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        pieces = self._library.storage.read(attachment_id, start=start, length=length)
        return StreamingResponse(pieces, status_code=status, headers=headers)

    async def _preview(self, request: Request, owner: Owner) -> Response:
        record = await self._stored(self._permitted(request, "preview", owner), owner)
        key = rendition_key(record.attachment.id, "preview")
        data = b"".join([piece async for piece in self._library.storage.read(key)])
        return Response(data, media_type=media_type_of(data), headers={**INERT, "cache-control": CACHED})

    def _permitted(self, request: Request, what: Literal["content", "preview"], owner: Owner) -> str:
        """The attachment that this request's link is about."""
        attachment_id: str = request.path_params["attachment_id"]
        query = request.scope["query_string"].decode("latin-1")
        self._links.check(request.method, attachment_id, what, query, owner)
        return attachment_id

    async def _stored(self, attachment_id: str, owner: Owner) -> Record:
        record = await self._library.find(attachment_id, owner)
        if not record.is_stored:
            raise NotFound(f"attachment {attachment_id[:64]!r} is not uploaded yet")
        return record

    def _body(self, request: Request) -> AsyncIterator[bytes]:
        return body_pieces(request, timeout=self._library.limits.upload_timeout)

    def _shown(self, attachment: Attachment, owner: Owner) -> Response:
        shown = self._library.with_links(attachment, owner)
        content = shown.model_dump_json(exclude_none=True, context={"exclude_metadata": True})
        return Response(content, media_type="application/json", headers={"cache-control": "no-store"})


def asked_range(request: Request, etag: str) -> str | None:
    """The range, unless it is asked for on a condition that does not hold. RFC 9110 section 13.1.5."""
    condition = request.headers.get("if-range")
    return request.headers.get("range") if condition in (None, etag) else None
