"""Will browsers send this cookie to the gateway, from these pages, and to nobody else?

Judges `Set-Cookie` lines as the login really sends them against the settings: a `curl -i` of the login, or the line
from the browser's network panel. Rules: names and attributes are told, values never. Pure.

Source: RFC 6265bis (names, attributes, prefixes, sizes).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.auth.credentials import CredentialRule, find_credential
from gateway.check.findings import Finding, fail, warn
from gateway.check.sites import host_of, is_loopback, is_public_suffix, is_same_site
from gateway.errors import ClientError
from gateway.settings import Settings
from gateway.settings.model import RouteSettings

# Bytes of name and value together that every browser keeps; what is larger is dropped without a word.
MAX_COOKIE: Final = 4096

_LINE = re.compile(r"^(?:<\s*)?set-cookie:\s*(.*)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """One line; attribute names in lower case."""

    name: str
    value: str = field(repr=False)
    attributes: dict[str, str]

    @property
    def is_removal(self) -> bool:
        return self.attributes.get("max-age", "1").startswith(("0", "-")) or not self.value


def read_cookies(text: str) -> list[SetCookie]:
    """Every Set-Cookie of a captured answer; or the one that ``text`` is, without its header's name."""
    lines = _LINE.findall(text) or ([text.strip()] if "=" in text and "\n" not in text.strip() else [])
    return [_read_line(line.strip()) for line in lines]


def _read_line(line: str) -> SetCookie:
    pair, *rest = line.split(";")
    name, _, value = pair.partition("=")
    attributes = {key.strip().lower(): given.strip() for key, _, given in (part.partition("=") for part in rest)}
    return SetCookie(name=name.strip(), value=value.strip(), attributes=attributes)


def judge_cookies(cookies: list[SetCookie], settings: Settings) -> Iterator[Finding]:
    """For each route that takes a cookie: is it among these, and does it work?"""
    kept = [cookie for cookie in cookies if not cookie.is_removal]
    for name, route in settings.routes.items():
        if route.cookie is not None:
            yield from _judge_route(f"routes.{name}.cookie", route, route.cookie, kept, settings)


def _judge_route(
    where: str, route: RouteSettings, name: str, kept: list[SetCookie], settings: Settings
) -> Iterable[Finding]:
    ours = [cookie for cookie in kept if re.fullmatch(re.escape(name) + r"(\.[0-9]+)?", cookie.name)]
    if not ours:
        names = ", ".join(cookie.name for cookie in kept) or "none"
        yield fail(where, f"no Set-Cookie for {name}; set are: {names}; name the one with the token")
        return
    found = [
        *_judge_token(where, route, name, ours),
        *(finding for cookie in ours for finding in _judge_one(where, route, cookie, settings)),
    ]
    yield from found or [Finding(what=f"{where}: Set-Cookie of {name}")]


def _judge_token(where: str, route: RouteSettings, name: str, ours: list[SetCookie]) -> Iterable[Finding]:
    """By the function that reads it in service."""
    header = "; ".join(f"{cookie.name}={cookie.value}" for cookie in ours).encode("utf-8", "replace")
    rule = CredentialRule(cookie=name.encode(), bearer=False, max_token=route.max_token)
    try:
        find_credential([(b"cookie", header)], rule)
    except ClientError as exc:
        yield fail(where, f"holds no token that can be read: {exc.code}, {exc}; let the login put the signed one there")


def _judge_one(where: str, route: RouteSettings, cookie: SetCookie, settings: Settings) -> Iterable[Finding]:
    what = f"{where}: {cookie.name}"
    yield from _judge_secure(what, cookie, settings.public_url)
    yield from _judge_same_site(what, cookie, route, settings.public_url)
    yield from _judge_place(what, cookie, route, settings.public_url)
    if "httponly" not in cookie.attributes:
        yield warn(what, "no HttpOnly: any script of the page reads the token; set it")
    size = len(cookie.name) + len(cookie.value)
    if size > MAX_COOKIE:
        yield fail(what, f"{size} bytes: browsers drop cookies over {MAX_COOKIE}; split it into {cookie.name}.0, .1, …")


def _judge_secure(what: str, cookie: SetCookie, public_url: str) -> Iterable[Finding]:
    is_secure, host = "secure" in cookie.attributes, host_of(public_url)
    if public_url.startswith("https://") and not is_secure:
        yield fail(what, "no Secure: the token also goes out by http, where anybody on the way reads it; set it")
    elif is_secure and public_url.startswith("http://") and not is_loopback(host):
        yield fail(what, f"Secure, and server.public_url is {public_url}: it is never sent there; serve by https")
    elif not is_secure and cookie.name.startswith(("__Host-", "__Secure-")):
        yield fail(what, "no Secure: browsers drop a cookie of such a name without it; set it")


def _judge_same_site(what: str, cookie: SetCookie, route: RouteSettings, public_url: str) -> Iterable[Finding]:
    # What a browser takes for it if there is none, or one that it does not know.
    given = cookie.attributes.get("samesite", "").lower()
    policy = given if given in ("strict", "lax", "none") else "lax"
    foreign = [origin for origin in route.allowed_origins if not is_same_site(origin, public_url)]
    if policy == "none" and "secure" not in cookie.attributes:
        yield fail(what, "SameSite=None without Secure: browsers drop it; set Secure")
    if policy != "none" and foreign:
        yield fail(
            what,
            f"SameSite={policy.capitalize()} is not sent by pages of another site, and {', '.join(foreign)} "
            f"{'is' if len(foreign) == 1 else 'are'} that to {public_url}; put a proxy for the gateway on the page's "
            "site, or set SameSite=None; Secure, which ever fewer browsers send",
        )
    if policy == "none" and not foreign:
        yield warn(
            what, "SameSite=None, though every page is of the gateway's own site: SameSite=Lax does, and is safer"
        )


def _judge_place(what: str, cookie: SetCookie, route: RouteSettings, public_url: str) -> Iterable[Finding]:
    host = host_of(public_url)
    domain = cookie.attributes.get("domain", "").lstrip(".").lower()
    path = cookie.attributes.get("path", "/") or "/"
    if cookie.name.startswith("__Host-") and (domain or path != "/" or "path" not in cookie.attributes):
        yield fail(what, "browsers drop a cookie called __Host-… unless it has Path=/ and no Domain")
    elif domain and is_public_suffix(domain):
        yield fail(what, f"Domain={domain} is shared by strangers: browsers drop it; use the domain that is yours")
    elif domain and host != domain and not host.endswith(f".{domain}"):
        yield fail(what, f"Domain={domain} does not cover {host} (server.public_url); widen it, or leave it out there")
    elif not domain and any(host_of(origin) != host for origin in route.allowed_origins):
        yield warn(what, f"no Domain: it goes only to the host that set it, which has to be {host} then")
    if not _covers(path, route.path):
        yield fail(what, f"Path={path} does not cover {route.path}; set Path=/")


def _covers(path: str, target: str) -> bool:
    """RFC 6265bis section 5.1.4."""
    return target == path or target.startswith(path if path.endswith("/") else f"{path}/")
