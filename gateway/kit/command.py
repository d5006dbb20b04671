"""`gateway kit`: what to paste into a page, with integrity hash and policy; or a copy of the files.

The import map is one line because its hash stands in the policy: browsers hash what is between the tags, to the byte.
"""

import base64
import hashlib
import json
from pathlib import Path

from gateway.kit.files import FILES, SCRIPT, integrity_of, kit_path, read_file

# Where ChatKit's script and its frame come from.
CHATKIT_ORIGIN = "https://cdn.platform.openai.com"


def describe_kit(origin: str) -> str:
    """What a page needs, as text for a terminal.

    Args:
        origin: the gateway's, as browsers see it; empty where it is the page's own.
    """
    url = f"{origin}{kit_path(SCRIPT)}"
    integrity = integrity_of(read_file(SCRIPT))
    import_map = json.dumps({"imports": {"gateway-kit": url}, "integrity": {url: integrity}})
    return f"""\
script     {url}
integrity  {integrity}

In a page that writes its own module (the import map pins the hash, once, before any module):

<script type="importmap">{import_map}</script>
<script type="module" src="/chat.js"></script>

chat.js:

import {{ createChatKitFetch, session, loadChatKit }} from "gateway-kit";

As a plain tag, with the hash on it:

<script type="module" src="{url}" integrity="{integrity}" crossorigin="anonymous"></script>

A strict policy for such a page. Its own files, the kit, ChatKit's script and frame, and the import map by its hash; try
it as Content-Security-Policy-Report-Only first:

Content-Security-Policy: {policy(origin, import_map)}
"""


def policy(origin: str, import_map: str) -> str:
    """A value of the header Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    gateway = f" {origin}" if origin else ""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self'{gateway} {CHATKIT_ORIGIN} 'sha256-{digest}'",
            f"frame-src {CHATKIT_ORIGIN}",
            f"connect-src 'self'{gateway}",
            "style-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def copy_kit(folder: Path) -> list[Path]:
    """Write the files there, over those of a former version; returns where.

    Raises:
        OSError: It is no folder, or may not be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FILES:
        path = folder / name
        path.write_bytes(read_file(name))
        written.append(path)
    return written
