"""What somebody gives `gateway explain`, made into a request: a token, a cookie, a capture; and keys from files.

Rules: a token or a cookie is taken to one route, as that route takes it; a message quotes nothing of what was given.
Reads no files itself.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gateway.auth.credentials import TOKEN
from gateway.explain.captures import Given, Headers, read_capture
from gateway.settings import Settings
from gateway.settings.values import OWN_PATHS

Kind = Literal["token", "cookie", "request"]


class NotExplained(Exception):
    """What was given cannot be explained; the text says why, and quotes nothing of it."""


def use_key_files(settings: Settings, files: Mapping[str, Path]) -> Settings:
    """The same settings with issuers' keys from files: no network is needed then.

    Args:
        files: By the name of the issuer's table, or by its `iss`.

    Raises:
        NotExplained: There is no such issuer.
    """
    issuers = dict(settings.issuers)
    for given, path in files.items():
        names = [name for name, table in issuers.items() if given in (name, table.issuer)]
        if not names:
            raise NotExplained(f"--jwks: no issuer {given!r:.200}; there are {', '.join(issuers)}")
        changes = {"jwks_file": path, "jwks_url": None, "discovery_url": None}
        issuers[names[0]] = issuers[names[0]].model_copy(update=changes)
    return settings.model_copy(update={"issuers": issuers})


def read_given(kind: Kind, data: bytes, settings: Settings, route_name: str | None) -> Given:
    """The request that is to be explained.

    Args:
        data: What the file holds: a token, a Cookie header or a cookie's value, or a capture.
        route_name: Where a token or cookie is taken to; needed where there are several. A captured request is taken
            there too, as if a proxy in front had rewritten its path.

    Raises:
        NotExplained: It is none of that, or there is no such route.
    """
    if not data.strip():
        raise NotExplained("nothing was given: the file, or standard input, is empty")
    if route_name is not None and route_name not in settings.routes:
        raise NotExplained(f"--route: no route {route_name!r:.80}; there are {', '.join(settings.routes)}")
    if kind == "request":
        try:
            given = read_capture(data, lambda path: _is_ours(path.decode("latin-1"), settings))
        except ValueError as exc:
            raise NotExplained(f"--request-file: {exc}") from exc
        if route_name is not None:
            query = given.target.partition(b"?")[1:]
            given = replace(given, target=settings.routes[route_name].path.encode() + b"".join(query))
        return given
    if route_name is None and len(settings.routes) > 1:
        raise NotExplained(f"for which route? Add --route with one of {', '.join(settings.routes)}")
    name = route_name or next(iter(settings.routes))
    headers = _token_headers(data, settings, name) if kind == "token" else _cookie_headers(data, settings, name)
    table = settings.routes[name]
    # Below a prefix any path will do.
    path = f"{table.path}x" if table.prefix else table.path
    method = table.methods[0] if table.methods else "POST"
    return Given(form=kind, method=method, target=path.encode(), headers=headers, body=None)


def _is_ours(path: str, settings: Settings) -> bool:
    return path in OWN_PATHS or any(
        path == table.path or (table.prefix and path.startswith(table.path)) for table in settings.routes.values()
    )


def _token_headers(data: bytes, settings: Settings, name: str) -> Headers:
    """As a bearer token where the route takes one, else in its cookie."""
    token = re.sub(rb"^(?:authorization:\s*)?bearer\s+", b"", data.strip(), flags=re.IGNORECASE)
    _check_one_line(token)
    table = settings.routes[name]
    if table.credential == "signed_url":
        raise NotExplained(f"route {name} takes signed URLs, no tokens: give the request with --request-file")
    if table.bearer or table.cookie is None:
        return [(b"authorization", b"Bearer " + token)]
    return [(b"cookie", table.cookie.encode() + b"=" + token)]


def _cookie_headers(data: bytes, settings: Settings, name: str) -> Headers:
    """A whole Cookie header, the value of the route's cookie alone, or a cookie file of curl's."""
    cookies = _unjar(re.sub(rb"^cookie:\s*", b"", data.strip(), flags=re.IGNORECASE))
    _check_one_line(cookies)
    cookie = settings.routes[name].cookie
    if cookie is None:
        raise NotExplained(f"route {name} takes no cookie: set routes.{name}.cookie, or give --token-file")
    if b"=" not in cookies and TOKEN.match(cookies):
        cookies = cookie.encode() + b"=" + cookies
    return [(b"cookie", cookies)]


def _unjar(data: bytes) -> bytes:
    """The cookies of a Netscape file, whatever host and time they are for: whether they are good is what is asked."""
    rows = [line.removeprefix(b"#HttpOnly_").split(b"\t") for line in data.splitlines()]
    pairs = [row[5] + b"=" + row[6] for row in rows if len(row) == 7 and not row[0].startswith(b"#")]
    return b"; ".join(pairs) or data


def _check_one_line(value: bytes) -> None:
    if not value.isascii() or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise NotExplained("a token or cookie is one line of ASCII, and this is not; --request-file takes requests")
