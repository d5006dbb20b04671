"""Cookies: split, quoted, nameless or many; no parser but ours."""

from collections.abc import Callable

from tests.attack.judge import Arrival
from tests.attack.marks import COOKIE
from tests.attack.requests import ORIGIN, ask
from tests.attack.row import Attack, Refused, Row, Served, row
from tests.attack.wire import Answer
from tests.attack.world import World

AMBIGUOUS = Refused(status=401, code="credential_ambiguous")
MISSING = Refused(status=401, code="credential_missing")
INVALID = Refused(status=401, code="token_invalid")


def _with(*headers: str | bytes, target: str = "/chatkit") -> bytes:
    return ask(f"Origin: {ORIGIN}", *headers, target=target)


def readable(expected: Refused) -> Refused:
    """The same refusal for a page that is allowed to read it."""
    return Refused(status=expected.status, code=expected.code, cors=True)


def sent(
    threat: str,
    name: str,
    cookies: Callable[[str], str | bytes],
    expected: Refused | Served,
    *,
    target: str = "/chatkit",
    own: bool = False,
) -> Row:
    """A Cookie header made of a good token, from an allowed page."""

    def attack(world: World) -> bytes:
        value = cookies(world.token())
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        return _with(b"Cookie: " + raw, target=target)

    result = readable(expected) if isinstance(expected, Refused) else expected
    return Row(threat=threat, name=name, attack=attack, expected=result, own=own)


def _halves(token: str) -> tuple[str, str]:
    return token[:200], token[200:]


def _octal(token: str) -> str:
    return 'auth_token="' + "".join(f"\\{ord(char):03o}" for char in token) + '"'


def _no_cookie(world: World, arrival: Arrival, answer: Answer) -> None:
    assert not arrival.all("cookie"), "a cookie at the backend"
    assert b"auth_token" not in arrival.body


def _split(*names: str) -> Callable[[str], str]:
    """The token's two halves under these names, then more of the same."""

    def cookies(token: str) -> str:
        values = [*_halves(token), "x", "x"]
        return "; ".join(f"{name}={value}" for name, value in zip(names, values, strict=False))

    return cookies


SPLIT = "split cookies"
RAW = "cookie values"


ROWS: list[Attack] = [
    sent("control", "a good cookie", lambda token: f"a=1; auth_token={token}; b={COOKIE}", Served(check=_no_cookie)),
    sent(RAW, "\\xa0 before the name", lambda token: b"\xa0__Host-auth=" + token.encode(), MISSING, target="/host"),
    sent(
        RAW,
        "\\x85 before the name",
        lambda token: b"\x85__Host-auth=" + token.encode(),
        MISSING,
        target="/host",
        own=True,
    ),
    sent(RAW, "a tab before the name", lambda token: f"a=1;\t__Host-auth={token}", MISSING, target="/host", own=True),
    sent(RAW, "a blank behind the name", lambda token: f"__Host-auth ={token}", MISSING, target="/host", own=True),
    sent(RAW, "the name in upper case", lambda token: f"__HOST-AUTH={token}", MISSING, target="/host", own=True),
    sent(RAW, "percent-encoded name", lambda token: f"__%48ost-auth={token}", MISSING, target="/host", own=True),
    sent(RAW, "the name without its prefix", lambda token: f"auth={token}", MISSING, target="/host", own=True),
    sent(RAW, "__Host- with the right name", lambda token: f"__Host-auth={token}", Served(), target="/host"),
    sent(RAW, "quoted", lambda token: f'auth_token="{token}"', INVALID),
    sent(RAW, "octal", _octal, INVALID),
    sent(
        RAW,
        "quoted with a cookie inside",
        lambda token: f'a="b; auth_token={token}; c="',
        Served(check=_no_cookie),
        own=True,
    ),
    sent(RAW, "percent-encoded dots", lambda token: "auth_token=" + token.replace(".", "%2E"), INVALID, own=True),
    sent(RAW, "a blank behind the value", lambda token: f"auth_token={token} ; a=1", INVALID, own=True),
    sent(RAW, "nameless", lambda token: token, MISSING),
    sent(RAW, "nameless, value looks like ours", lambda token: f"=auth_token={token}", MISSING),
    sent(RAW, "joined by a comma", lambda token: f"a=1, auth_token={token}", MISSING, own=True),
    sent(
        RAW,
        "$Version in front",
        lambda token: f"$Version=1; auth_token={token}; $Path=/",
        Served(check=_no_cookie),
        own=True,
    ),
    sent(
        RAW,
        "500 cookies in one header",
        lambda token: "; ".join(f"c{n}={COOKIE}" for n in range(500)) + f"; auth_token={token}",
        Served(check=_no_cookie),
    ),
    row(
        RAW,
        "500 Cookie headers",
        lambda world: _with(*(f"Cookie: c{n}=1" for n in range(500))),
        Refused(status=431, code="headers_too_large", closed=True),
    ),
    sent(RAW, "empty", lambda token: "auth_token=", INVALID, own=True),
    sent(SPLIT, "two parts", _split("auth_token.0", "auth_token.1"), Served(check=_no_cookie)),
    sent(
        SPLIT,
        "two parts, the second first",
        lambda token: "auth_token.1={1}; auth_token.0={0}".format(*_halves(token)),
        Served(check=_no_cookie),
        own=True,
    ),
    sent(SPLIT, "part 0 missing", _split("auth_token.1", "auth_token.2"), INVALID),
    sent(SPLIT, "part 1 missing", _split("auth_token.0", "auth_token.2"), INVALID),
    sent(SPLIT, "one part more than there were", _split("auth_token.0", "auth_token.1", "auth_token.2"), INVALID),
    sent(SPLIT, "part 0 twice", _split("auth_token.0", "auth_token.0"), AMBIGUOUS, own=True),
    sent(SPLIT, "part 99999999999", _split("auth_token.0", "auth_token.1", "auth_token.99999999999"), INVALID),
    sent(
        SPLIT,
        "part of 4,300 digits and more",
        _split("auth_token.0", "auth_token.1", "auth_token." + "9" * 5000),
        INVALID,
        own=True,
    ),
    sent(SPLIT, "part 01", _split("auth_token.0", "auth_token.01"), INVALID, own=True),
    sent(SPLIT, "part -1", _split("auth_token.0", "auth_token.-1"), INVALID, own=True),
    sent(
        SPLIT, "whole and parts side by side", lambda token: f"auth_token={token}; auth_token.0=x", AMBIGUOUS, own=True
    ),
]
