"""The kinds of values that settings are made of: origins, URLs, paths, names. Each says what is wrong and the fix."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.auth.keys import ALGORITHMS
from gateway.backends.routes import check_path
from gateway.chatkit.operations import OPERATIONS
from gateway.errors import MalformedPath
from gateway.wire.headers import is_forwardable

# Paths that the gateway answers itself.
OWN_PATHS = ("/livez", "/readyz", "/session", "/.well-known/jwks.json")


def _check_origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be scheme://host or scheme://host:port, such as https://app.example.com")
    if value != f"{parts.scheme}://{parts.netloc}" or value != value.lower() or "@" in parts.netloc:
        raise ValueError(
            f"must be an origin alone, in lower case: did you mean {parts.scheme}://{parts.hostname}"
            f"{f':{parts.port}' if parts.port else ''}?"
        )
    if (parts.scheme, parts.port) in (("http", 80), ("https", 443)):
        raise ValueError("browsers leave the default port out of Origin: leave it out here too")
    return value


def _check_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    if parts.username or parts.password or parts.fragment or parts.query:
        raise ValueError("must have no user, query or fragment")
    return value


def _check_path_setting(value: str) -> str:
    try:
        check_path(value.encode("ascii"))
    except (MalformedPath, UnicodeEncodeError) as exc:
        raise ValueError(f"must be a canonical path such as /chatkit: {exc}") from exc
    if value in OWN_PATHS:
        raise ValueError(f"is answered by the gateway itself; the gateway's own paths are {', '.join(OWN_PATHS)}")
    return value


def _check_cookie_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        raise ValueError("must be a cookie name: letters, digits and !#$%&'*+.^_`|~-")
    return value


def _check_algorithm(value: str) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f"must be one of {', '.join(ALGORITHMS)}")
    return value


def _check_operation(value: str) -> str:
    if value not in OPERATIONS:
        raise ValueError(f"must be a ChatKit operation: {', '.join(OPERATIONS)}")
    return value


def _check_forwarded(value: str) -> str:
    name = value.lower()
    if not re.fullmatch(r"[a-z0-9-]+", name) or not is_forwardable(name.encode()):
        raise ValueError("may not be forwarded: it decides who the caller is or how the message is framed")
    return name


Origin = Annotated[str, AfterValidator(_check_origin)]
Url = Annotated[str, AfterValidator(_check_url)]
RoutePath = Annotated[str, AfterValidator(_check_path_setting)]
CookieName = Annotated[str, AfterValidator(_check_cookie_name)]
Algorithm = Annotated[str, AfterValidator(_check_algorithm)]
OperationName = Annotated[str, AfterValidator(_check_operation)]
ForwardedHeader = Annotated[str, AfterValidator(_check_forwarded)]
TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600, allow_inf_nan=False)]
