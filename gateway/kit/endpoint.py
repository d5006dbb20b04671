"""GET /kit/VERSION/FILE: the kit's files, for pages on any origin, cached for good.

Rules: the same bytes for everybody, so no cookie is looked at and every origin may read them; a `crossorigin` script
with an integrity hash needs that permission.
"""

from collections.abc import Sequence
from typing import Final

from starlette.routing import Route as AppRoute

from gateway.errors import MethodNotAllowed
from gateway.kit.files import FILES, kit_path, read_file
from gateway.wire.asgi import Headers, Receive, Scope, Send

# Seconds: a year, the longest that caches take (RFC 9111 section 1.2.2 knows no more). The path has the version.
MAX_AGE: Final = 31_536_000

_FIXED: Final[Headers] = [
    (b"cache-control", b"public, max-age=%d, immutable" % MAX_AGE),
    (b"access-control-allow-origin", b"*"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
]


class KitFile:
    """One file, held in memory."""

    def __init__(self, content: bytes, *, media_type: str) -> None:
        self._content = content
        self._headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(content)),
            *_FIXED,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{scope['method']} on {scope['path']}", allowed=["GET", "HEAD"])
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._content, "more_body": False})


def build_kit_routes() -> Sequence[AppRoute]:
    return [AppRoute(kit_path(name), KitFile(read_file(name), media_type=kind)) for name, kind in FILES.items()]
