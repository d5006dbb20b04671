"""The kinds of values that settings are made of: origins, URLs, paths, names. Each says what is wrong and the fix."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

from gateway.auth.keys import ALGORITHMS
from gateway.backends.routes import check_path
from gateway.chatkit.operations import OPERATIONS
from gateway.errors import MalformedPath
from gateway.wire.headers import is_forwardable

# Paths that the gateway answers itself.
OWN_PATHS = ("/livez", "/readyz", "/session", "/.well-known/jwks.json")
# Below it the front-end kit is served, in versions to come too.
KIT_PATH = "/kit/"


# Browsers send host names in lower case and in ASCII; there are no wildcards, and a cookie deserves none.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_origin(value: str) -> str:
    """An origin as browsers send it, or ValueError with the fix."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be scheme://host or scheme://host:port, such as https://app.example.com")
    if "*" in value:
        raise ValueError("must be one origin without wildcard: list each one")
    origin = _origin_of(parts)
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("must have a host name in ASCII, as browsers send it (xn--…)")
    if value != origin:
        raise ValueError(
            f"must be what browsers send: scheme and host in lower case, no user, path or default port: "
            f"did you mean {origin}?"
        )
    return value


def _origin_of(parts: SplitResult) -> str:
    """The origin that a browser would send for such a URL. RFC 6454 section 6.2."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _check_url(value: str) -> str:
    _check_keys_url(value)
    if "?" in value:
        raise ValueError("must have no query: the client's own is sent on")
    return value


def _check_keys_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be in printable ASCII without spaces; percent-encode the rest")
    if parts.port == 0 or parts.username or parts.password or "#" in value:
        raise ValueError("must have no user, no fragment, and a port between 1 and 65535 if any")
    return value


def _check_path_setting(value: str) -> str:
    try:
        check_path(value.encode("ascii"))
    except (MalformedPath, UnicodeEncodeError) as exc:
        raise ValueError(f"must be a canonical path such as /chatkit: {exc}") from exc
    if value in OWN_PATHS or f"{value}/".startswith(KIT_PATH):
        own = ", ".join((*OWN_PATHS, KIT_PATH))
        raise ValueError(f"is answered by the gateway itself; the gateway's own paths are {own}")
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


def _check_table_name(value: str) -> str:
    if not re.fullmatch(r"[a-z](?:_?[a-z0-9])*", value) or len(value) > 63:
        raise ValueError("must be a name of at most 63 a-z, 0-9 and single _, so that a variable can name it too")
    return value


def _check_network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as exc:
        raise ValueError(f"must be a network such as 10.0.0.0/8 or one address: {exc}") from exc
    return value


Network = Annotated[str, AfterValidator(_check_network)]
Origin = Annotated[str, AfterValidator(check_origin)]
Url = Annotated[str, AfterValidator(_check_url)]
KeysUrl = Annotated[str, AfterValidator(_check_keys_url)]
RoutePath = Annotated[str, AfterValidator(_check_path_setting)]
CookieName = Annotated[str, AfterValidator(_check_cookie_name)]
Algorithm = Annotated[str, AfterValidator(_check_algorithm)]
OperationName = Annotated[str, AfterValidator(_check_operation)]
ForwardedHeader = Annotated[str, AfterValidator(_check_forwarded)]
TableName = Annotated[str, AfterValidator(_check_table_name)]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600, allow_inf_nan=False)]
