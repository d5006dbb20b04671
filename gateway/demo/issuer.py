"""An identity provider for development, in a process of its own (`python -m gateway.demo.issuer`).

It stands in for whatever signs people in where the gateway is used: it sets an httpOnly cookie that holds a signed
token, and publishes the keys. Cookies ignore ports, so the gateway on the same host receives it.

Rules: loopback only (of a container's port, whoever publishes it sees to that); no passwords; people are sent back to
the gateway and nowhere else; a form posted by another site is refused by its Origin. It is no OAuth server and its
discovery document claims none.
"""

import argparse
import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.demo.keys import KeyRing
from gateway.demo.login import is_return_allowed, login_policy, render_login
from gateway.demo.people import PEOPLE, TOKEN_LIFETIME, Person, token_claims

COOKIE = "auth_token"
# Bytes. The form has four short fields.
MAX_FORM = 8192


class DemoIssuer:
    """The issuer's endpoints. ``url`` and ``gateway_url`` are origins, without a trailing slash."""

    def __init__(
        self, *, url: str, gateway_url: str, keys: KeyRing | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.url = url
        self.gateway_url = gateway_url
        self.keys = keys or KeyRing()
        self.clock = clock

    async def show_login(self, request: Request) -> Response:
        page = render_login(
            PEOPLE.values(),
            return_to=self._return_to(request.query_params.get("return_to")),
            algorithms=self.keys.algorithms,
            chosen=self._algorithm(request.query_params.get("alg")),
        )
        headers = {"content-security-policy": login_policy(self.gateway_url), "cache-control": "no-store"}
        return HTMLResponse(page, headers=headers)

    async def sign_in(self, request: Request) -> Response:
        self._check_origin(request, {self.url})
        form = await read_form(request)
        person = find_person(form.get("user", ""))
        response = RedirectResponse(self._return_to(form.get("return_to")), status_code=303)
        lifetime = find_lifetime(form.get("lifetime"))
        claims = token_claims(person, issuer=self.url, now=int(self.clock()), lifetime=lifetime)
        token = self.keys.token(claims, self._algorithm(form.get("alg") or request.query_params.get("alg")))
        response.set_cookie(COOKIE, token, max_age=lifetime, path="/", httponly=True, samesite="lax")
        return response

    async def sign_out(self, request: Request) -> Response:
        self._check_origin(request, {self.url, self.gateway_url})
        form = await read_form(request)
        response = RedirectResponse(self._return_to(form.get("return_to")), status_code=303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return response

    def rotate(self, request: Request) -> Response:
        """Not a coroutine: making an RSA key takes a tenth of a second and belongs into a thread."""
        self._check_origin(request, {self.url})
        self.keys.rotate()
        return JSONResponse({"kids": [key["kid"] for key in self.keys.jwks()["keys"]]})

    async def jwks(self, request: Request) -> Response:
        return JSONResponse(self.keys.jwks())

    async def discovery(self, request: Request) -> Response:
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/.well-known/jwks.json",
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": self.keys.algorithms,
        }
        return JSONResponse(document)

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def _return_to(self, value: str | None) -> str:
        return_to = value or f"{self.gateway_url}/"
        if not is_return_allowed(return_to, self.gateway_url):
            raise HTTPException(400, f"return_to must be a URL at {self.gateway_url}")
        return return_to

    def _algorithm(self, value: str | None) -> str:
        algorithm = value or self.keys.algorithms[0]
        if algorithm not in self.keys.algorithms:
            raise HTTPException(400, f"alg must be one of {', '.join(self.keys.algorithms)}")
        return algorithm

    def _check_origin(self, request: Request, allowed: set[str]) -> None:
        """Browsers always name the origin of a POST; a program that names none is not one."""
        origins = request.headers.getlist("origin")
        if not allowed.issuperset(origins):
            raise HTTPException(403, f"posted from another site; open {self.url}/login instead")


def build_issuer(issuer: DemoIssuer) -> Starlette:
    """The issuer as an ASGI application."""
    routes = [
        Route("/login", issuer.show_login),
        Route("/login", issuer.sign_in, methods=["POST"], max_body_size=MAX_FORM),
        Route("/logout", issuer.sign_out, methods=["POST"], max_body_size=MAX_FORM),
        Route("/rotate", issuer.rotate, methods=["POST"]),
        Route("/.well-known/jwks.json", issuer.jwks),
        Route("/.well-known/openid-configuration", issuer.discovery),
        Route("/livez", issuer.live),
    ]
    return Starlette(routes=routes)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded body; the last of several of one name counts."""
    text = (await request.body()).decode("utf-8", errors="replace")
    return {name: values[-1] for name, values in parse_qs(text, max_num_fields=16).items()}


def find_person(name: str) -> Person:
    if name not in PEOPLE:
        raise HTTPException(400, f"user must be one of {', '.join(PEOPLE)}")
    return PEOPLE[name]


def find_lifetime(value: str | None) -> int:
    """Seconds of a session, for who wants to see one end soon; never longer than usual."""
    if value is None:
        return TOKEN_LIFETIME
    # Not `int` alone: it takes signs, spaces and digits of every script.
    if not re.fullmatch(r"[0-9]{1,6}", value) or not 0 < int(value) <= TOKEN_LIFETIME:
        raise HTTPException(400, f"lifetime must be a number of seconds from 1 to {TOKEN_LIFETIME}")
    return int(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.issuer", description="A development issuer.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container alone")
    parser.add_argument("--gateway", required=True, help="the gateway's public URL: where people are sent back to")
    arguments = parser.parse_args()
    issuer = DemoIssuer(url=f"http://127.0.0.1:{arguments.port}", gateway_url=arguments.gateway.rstrip("/"))
    # Seconds. Nothing here takes long; an open keep-alive connection must not hold up the end.
    uvicorn.run(build_issuer(issuer), host=arguments.host, port=arguments.port, timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
