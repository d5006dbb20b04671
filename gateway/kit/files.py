"""The kit's files: their names, their types, where they are served, and their hash. Knows nothing of requests."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# Also in gateway-kit.js; part of the path, so that it may be cached for good.
KIT_VERSION: Final = "1.0.0"

STATIC: Final = Path(__file__).parent / "static"
SCRIPT: Final = "gateway-kit.js"
# Types and hook are for tools and readers: no browser should run or render them.
FILES: Final[Mapping[str, str]] = {
    SCRIPT: "text/javascript; charset=utf-8",
    "gateway-kit.d.ts": "text/plain; charset=utf-8",
    "use-gateway-chatkit.tsx": "text/plain; charset=utf-8",
}


def kit_path(name: str) -> str:
    """Where the gateway serves the file."""
    return f"/kit/{KIT_VERSION}/{name}"


def read_file(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def integrity_of(content: bytes) -> str:
    """As `integrity` attributes have it. W3C, Subresource Integrity, section 3.3."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"
