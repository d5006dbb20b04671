"""The demo pages at the gateway's own origin: static files, and where to sign in.

    /               the chat, written out: what goes over the wire can be read in its scripts
    /official       the official ChatKit element, brought in through the kit
    /demo/NAME      their scripts and their style

Rules: everything a page loads comes from the gateway, but for the official element, which OpenAI serves from one place
only; no inline script or style, so the policies are strict. These routes exist in demo mode only. Knows nothing of
cookies or tokens: a page asks `/session` who is signed in.
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
CHAT, OFFICIAL = "/", "/official"
PAGES: Mapping[str, str] = {CHAT: "index.html", OFFICIAL: "official.html"}
TYPES: Mapping[str, str] = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FILES: Mapping[str, str] = {
    **PAGES,
    **{f"/demo/{path.name}": path.name for path in sorted(STATIC.iterdir()) if path.suffix in (".js", ".css")},
}
# Where the official script is, and the frame that it opens.
CHATKIT = "https://cdn.platform.openai.com"


def build_page_routes(*, gateway_url: str, issuer_url: str) -> list[Route]:
    """The pages' routes. Both URLs are origins as the browser sees them, without a trailing slash."""
    config = {
        "origin": gateway_url,
        "login_url": f"{issuer_url}/login",
        "logout_url": f"{issuer_url}/logout",
    }
    files = [
        file_route(path, name, headers=page_headers(path, gateway_url, issuer_url)) for path, name in FILES.items()
    ]
    return [*files, config_route("/demo/config.json", config, headers=page_headers(CHAT, gateway_url, issuer_url))]


def page_headers(path: str, gateway_url: str, issuer_url: str) -> dict[str, str]:
    """What the browser may do with what is at this path.

    `form-action` names both ends of the sign-out form, since browsers check the redirect as well; the referrer policy
    keeps an Origin on that form's post, which `no-referrer` would turn into `null`.
    """
    # The official element sets its style from its script, which no policy forbids; its frame has a policy of its own.
    scripts, frames = ("'self'", "'none'") if path != OFFICIAL else (f"'self' {CHATKIT}", CHATKIT)
    policy = (
        f"default-src 'none'; script-src {scripts}; frame-src {frames}; style-src 'self'; connect-src 'self'; "
        f"img-src 'self' data:; form-action {gateway_url} {issuer_url}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "referrer-policy": "strict-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }


def file_route(path: str, name: str, *, headers: Mapping[str, str]) -> Route:
    content = (STATIC / name).read_bytes()
    media_type = TYPES[Path(name).suffix]

    async def serve_file(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=headers)

    return Route(path, serve_file)


def config_route(path: str, config: Mapping[str, str], *, headers: Mapping[str, str]) -> Route:
    async def serve_config(request: Request) -> Response:
        return JSONResponse(dict(config), headers=headers)

    return Route(path, serve_config)
