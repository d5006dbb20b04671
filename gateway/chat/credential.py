"""Where a terminal's credential comes from: a file, standard input or the environment, never the command line.

Everybody on a machine can read everybody's command lines. Rules: a mistake names the source and never quotes what is
in it; a cookie goes to the host it was made for. Pure but for `read_source`.

Source: curl's "HTTP Cookies" document (Netscape cookie files); RFC 6265 sections 5.1.3 and 5.1.4 (domain, path).
"""

import ipaddress
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import httpx

# Not GATEWAY_*: the gateway reads those as its settings and refuses the ones it does not know.
TOKEN_VARIABLE = "CHAT_TOKEN"  # noqa: S105  # a name
COOKIE_VARIABLE = "CHAT_COOKIE"
# Characters. The gateway reads tokens up to 16 KB and split cookies up to 40 KB.
MAX_SECRET = 100_000
# Characters. The shortest signed tokens have some 150.
MAX_NAME = 120

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_COOKIES = re.compile(r"[!-:<-~]+=[!-:<-~]*(; ?[!-:<-~]+=[!-:<-~]*)*;?")


class SecretProblem(Exception):
    """The credential cannot be used. The message names its source, not its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was asked for: file names, `-` for standard input."""

    token_file: str | None = None
    cookie_file: str | None = None


def find_credential(
    sources: Sources, *, environment: Mapping[str, str], stdin: TextIO, url: httpx.URL
) -> Mapping[str, str]:
    """The header that carries the credential; empty without one. Raises SecretProblem."""
    if sources.token_file is not None:
        return token_header(read_source(sources.token_file, stdin), _name(sources.token_file))
    if sources.cookie_file is not None:
        return cookie_header(read_source(sources.cookie_file, stdin), _name(sources.cookie_file), url=url)
    token, cookie = environment.get(TOKEN_VARIABLE), environment.get(COOKIE_VARIABLE)
    if token and cookie:
        raise SecretProblem(f"{TOKEN_VARIABLE} and {COOKIE_VARIABLE} are both set: unset one")
    if token:
        return token_header(token, TOKEN_VARIABLE)
    return cookie_header(cookie, COOKIE_VARIABLE, url=url) if cookie else {}


def read_source(name: str, stdin: TextIO) -> str:
    """The text of a file, or of standard input. Raises SecretProblem."""
    try:
        if name == "-":
            text = stdin.read(MAX_SECRET + 1)
        else:
            with Path(name).open(encoding="ascii") as file:
                text = file.read(MAX_SECRET + 1)
    except OSError as exc:
        raise SecretProblem(f"{_name(name)}: {exc.strerror}") from exc
    except ValueError as exc:
        raise SecretProblem(f"{_name(name)}: a credential is plain ASCII text") from exc
    if len(text) > MAX_SECRET:
        raise SecretProblem(f"{_name(name)}: more than {MAX_SECRET} characters is no credential")
    return text


def token_header(text: str, source: str) -> Mapping[str, str]:
    """`Authorization` for a bearer token. RFC 6750 section 2.1."""
    token = text.strip().removeprefix("Bearer ")
    if not _TOKEN.fullmatch(token):
        raise SecretProblem(f"{source}: not one token; it is a line of letters, digits and -._~+/=")
    return {"authorization": f"Bearer {token}"}


def cookie_header(
    text: str, source: str, *, url: httpx.URL, clock: Callable[[], float] = time.time
) -> Mapping[str, str]:
    """`Cookie` from a file of curl's or a browser's (Netscape format), or from the line `name=value; name=value`."""
    line = text.strip().removeprefix("Cookie:").strip()
    if "\t" not in text and not text.startswith("# "):
        if not _COOKIES.fullmatch(line):
            raise SecretProblem(f"{source}: neither a cookie file of curl's nor a line name=value")
        return {"cookie": line}
    pairs = [f"{name}={value}" for name, value in _jar(text, url, clock())]
    if not pairs:
        raise SecretProblem(f"{source}: no cookie in it is for {url.host}{url.path} now; sign in again")
    return {"cookie": "; ".join(pairs)}


def is_sent_readably(url: httpx.URL) -> bool:
    """Could somebody on the way read what is sent to this URL?"""
    return url.scheme == "http" and not _is_loopback(url.host)


def _jar(text: str, url: httpx.URL, now: float) -> Iterator[tuple[str, str]]:
    """The cookies of a Netscape file that a client would send: domain, subdomains?, path, secure?, end, name, value."""
    for line in text.splitlines():
        fields = line.removeprefix("#HttpOnly_").split("\t")
        if len(fields) != 7 or fields[0].startswith("#"):
            continue
        domain, subdomains, path, secure, end, name, value = fields
        if not _is_for_host(domain.removeprefix("."), url.host, subdomains=subdomains == "TRUE"):
            continue
        if not _is_for_path(path, url.path) or (secure == "TRUE" and is_sent_readably(url)):
            continue
        if end.isdigit() and (end == "0" or int(end) > now):
            yield name, value


def _is_for_host(domain: str, host: str, *, subdomains: bool) -> bool:
    return host == domain.lower() or (subdomains and host.endswith(f".{domain.lower()}"))


def _is_for_path(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _name(source: str) -> str:
    """What messages call it. What is too long for a file's name is likely to be the credential itself."""
    if len(source) > MAX_NAME:
        return f"a file name of {len(source)} characters"
    return "standard input" if source == "-" else source
