"""The kinds of values: what is wrong, and the fix, in one line each."""

from pathlib import Path

import pytest

from tests.gateway.settings.files import SMALLEST, problems

SHAPE = "must be what browsers send: scheme and host in lower case, no user, path or default port: did you mean "


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("https://app.example.com", None),
        ("http://localhost:3000", None),
        ("http://[::1]:3000", None),
        ("https://app.example.com/", SHAPE + "https://app.example.com?"),
        ("https://APP.example.com", SHAPE + "https://app.example.com?"),
        ("HTTPS://app.example.com", SHAPE + "https://app.example.com?"),
        ("https://app.example.com:443", SHAPE + "https://app.example.com?"),
        ("http://app.example.com:80", SHAPE + "http://app.example.com?"),
        ("https://app.example.com:8443/chat?x#y", SHAPE + "https://app.example.com:8443?"),
        ("http://[::1]:3000/", SHAPE + "http://[::1]:3000?"),
        ("https://*.example.com", "must be one origin without wildcard: list each one"),
        ("https://bücher.example", "must have a host name in ASCII, as browsers send it (xn--…)"),
        ("https://a b.example", "must have a host name in ASCII, as browsers send it (xn--…)"),
        ("https://app.example.com:x", "Port could not be cast to integer value as 'x'"),
        ("*", "must be scheme://host or scheme://host:port, such as https://app.example.com"),
        ("null", "must be scheme://host or scheme://host:port, such as https://app.example.com"),
        ("app.example.com", "must be scheme://host or scheme://host:port, such as https://app.example.com"),
        ("file:///etc", "must be scheme://host or scheme://host:port, such as https://app.example.com"),
    ],
)
def test_an_origin_is_what_browsers_send(tmp_path: Path, value: str, problem: str | None) -> None:
    """Anything else would never match, silently."""
    found = problems(tmp_path, SMALLEST.replace('["https://app.example.com"]', f'["{value}"]'))

    assert found == ([] if problem is None else [f"routes.support.allowed_origins.0: {problem} (is {value!r})"])


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    """Problems end up in logs."""
    origin = problems(tmp_path, SMALLEST.replace("https://app.example.com", "https://joe:secret@app.example.com"))
    backend = problems(tmp_path, SMALLEST.replace("http://127.0.0.1:9000", "http://joe:secret@127.0.0.1:9000"))

    assert origin == [
        f"routes.support.allowed_origins.0: {SHAPE}https://app.example.com? (is 'https://***@app.example.com')"
    ]
    assert backend == [
        "backends.support.url: must have no user, no fragment, and a port between 1 and 65535 if any "
        "(is 'http://***@127.0.0.1:9000/chatkit')"
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("https://agent.internal/chatkit", None),
        ("http://[::1]:9000/chatkit", None),
        ("ftp://agent/chatkit", "must be an http:// or https:// URL"),
        ("agent:9000", "must be an http:// or https:// URL"),
        ("http://agent/chat kit", "must be in printable ASCII without spaces; percent-encode the rest"),
        ("http://agent/chät", "must be in printable ASCII without spaces; percent-encode the rest"),
        ("http://agent/chatkit?x=1", "must have no query: the client's own is sent on"),
        ("http://agent/chatkit#x", "must have no user, no fragment, and a port between 1 and 65535 if any"),
        ("http://agent:0/", "must have no user, no fragment, and a port between 1 and 65535 if any"),
        ("http://agent:99999/", "Port out of range 0-65535"),
    ],
)
def test_a_backends_url(tmp_path: Path, value: str, problem: str | None) -> None:
    """It goes into a request line as it is."""
    found = problems(tmp_path, SMALLEST.replace("http://127.0.0.1:9000/chatkit", value))

    assert found == ([] if problem is None else [f"backends.support.url: {problem} (is {value!r})"])


def test_a_keys_url_may_have_a_query(tmp_path: Path) -> None:
    """Azure AD B2C names its policy there."""
    assert problems(tmp_path, SMALLEST.replace("jwks.json", "keys?p=b2c_1_signin")) == []


OWN = (
    "is answered by the gateway itself; the gateway's own paths are /livez, /readyz, /session, /.well-known/jwks.json, "
    "/kit/"
)


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("path", "/session", OWN),
        ("path", "/.well-known/jwks.json", OWN),
        ("path", "/kit", OWN),
        ("path", "/kit/2.0.0/x.js", OWN),
        ("path", "chatkit", "must be a canonical path such as /chatkit: path b'chatkit' has an empty segment or a"),
        ("path", "/a//b", "must be a canonical path such as /chatkit: path b'/a//b' has an empty segment or a"),
        ("path", "/a/../b", "must be a canonical path such as /chatkit: path b'/a/../b' has a dot segment"),
        ("path", "/%61", "must be a canonical path such as /chatkit: path b'/%61' encodes %61"),
        ("path", "/chät", "must be a canonical path such as /chatkit: 'ascii' codec can't encode"),
        ("cookie", "auth token", "must be a cookie name: letters, digits and !#$%&'*+.^_`|~-"),
        ("cookie", "auth=", "must be a cookie name: letters, digits and !#$%&'*+.^_`|~-"),
        ("cookie", "", "must be a cookie name: letters, digits and !#$%&'*+.^_`|~-"),
    ],
)
def test_paths_and_cookies(tmp_path: Path, setting: str, value: str, problem: str) -> None:
    """Neither a second form of a path nor a name that no browser sends."""
    old = {"path": 'path = "/chatkit"', "cookie": 'cookie = "auth_token"'}[setting]
    (found,) = problems(tmp_path, SMALLEST.replace(old, f'{setting} = "{value}"'))

    assert found.startswith(f"routes.support.{setting}: {problem}")
    assert found.endswith(f"(is {value!r})")


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "X-Gateway-Assertion", "X-Forwarded-For", "x_user", "a b"])
def test_headers_that_are_never_forwarded(tmp_path: Path, name: str) -> None:
    """In any case."""
    assert problems(tmp_path, SMALLEST + f'forward_headers = ["X-App-Version", "{name}"]') == [
        "routes.support.forward_headers.1: may not be forwarded: it decides who the caller is or how the message is "
        f"framed (is {name!r})"
    ]


@pytest.mark.parametrize("name", ["Support", "sup-port", "1st", "a__b", "_a", "a_", "a" * 64, "sü"])
def test_a_tables_name_fits_a_variable(tmp_path: Path, name: str) -> None:
    """Otherwise the environment could not reach it."""
    text = SMALLEST.replace("[backends.support]", f'[backends."{name}"]')
    text = text.replace('backend = "support"', f'backend = "{name}"')

    assert problems(tmp_path, text) == [
        f"backends.{name}: must be a name of at most 63 a-z, 0-9 and single _, so that a variable can name it too "
        f"(is {name!r})"
    ]


def test_algorithms_and_operations(tmp_path: Path) -> None:
    """The message lists what there is."""
    text = SMALLEST.replace('["RS256"]', '["none", "HS256"]') + 'operations = ["threads.destroy"]'
    found = problems(tmp_path, text)

    assert [line.partition(": must be ")[0] for line in found] == [
        "issuers.main.algorithms.0",
        "issuers.main.algorithms.1",
        "routes.support.operations.0",
    ]
    assert "one of RS256" in found[0]
    assert "threads.create" in found[2]
