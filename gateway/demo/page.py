"""The demo page at the gateway's own origin: three static files and where to sign in.

Rules: everything the browser loads comes from the gateway; no inline script or style, so the policy is strict. These
routes exist in demo mode only. Knows nothing of cookies or tokens: the page asks `/session` who is signed in.
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
FILES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html"),
    "/demo/chat.js": ("chat.js", "text/javascript"),
    "/demo/style.css": ("style.css", "text/css"),
}


def build_page_routes(*, gateway_url: str, issuer_url: str) -> list[Route]:
    """The page's routes. Both URLs are origins as the browser sees them, without a trailing slash."""
    headers = page_headers(gateway_url, issuer_url)
    config = {
        "origin": gateway_url,
        "login_url": f"{issuer_url}/login",
        "logout_url": f"{issuer_url}/logout",
    }
    files = [file_route(path, *file, headers=headers) for path, file in FILES.items()]
    return [*files, config_route("/demo/config.json", config, headers=headers)]


def page_headers(gateway_url: str, issuer_url: str) -> dict[str, str]:
    """What the browser may do with the page.

    `form-action` names both ends of the sign-out form, since browsers check the redirect as well; the referrer policy
    keeps an Origin on that form's post, which `no-referrer` would turn into `null`.
    """
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        f"form-action {gateway_url} {issuer_url}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "referrer-policy": "strict-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }


def file_route(path: str, name: str, media_type: str, *, headers: Mapping[str, str]) -> Route:
    content = (STATIC / name).read_bytes()

    async def serve_file(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=headers)

    return Route(path, serve_file)


def config_route(path: str, config: Mapping[str, str], *, headers: Mapping[str, str]) -> Route:
    async def serve_config(request: Request) -> Response:
        return JSONResponse(dict(config), headers=headers)

    return Route(path, serve_config)
