"""A request in whatever form somebody captured it."""

import json
from typing import Any

import pytest

from gateway.explain.captures import Given, read_capture

BODY = b'{"type":"threads.list","params":{"text":"it\'s \\"5$\\" \xc3\xa9"}}'
HEADERS = [(b"Host", b"chat"), (b"Origin", b"https://app"), (b"Cookie", b"auth_token=a.b.c; x=1")]


def read(data: bytes | str) -> Given:
    return read_capture(data.encode() if isinstance(data, str) else data, lambda path: path == b"/chatkit")


def har(*requests: dict[str, Any], status: int = 200) -> bytes:
    entries = [{"request": request, "response": {"status": status}} for request in requests]
    return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()


def har_request(url: str = "https://chat/chatkit?a=b", **members: Any) -> dict[str, Any]:
    pairs = [{"name": name.decode(), "value": value.decode()} for name, value in HEADERS]
    posted = {"mimeType": "application/json", "text": BODY.decode()}
    return {"method": "POST", "url": url, "headers": pairs, "postData": posted, **members}


LINES = b"POST /chatkit?a=b HTTP/1.1\r\nHost: chat\r\nOrigin: https://app\r\nCookie: auth_token=a.b.c; x=1\r\n"
VERBOSE = """*   Trying 192.0.2.1:443...
* using HTTP/2
> POST /chatkit?a=b HTTP/2
> Host: chat
> Origin: https://app
> Cookie: auth_token=a.b.c; x=1
>
< HTTP/2 401
< content-type: application/problem+json
{"code":"token_invalid"}
"""
COMMAND = r"""curl 'https://chat/chatkit?a=b' \
  -H 'Host: chat' \
  -H "Origin: https://app" -b 'auth_token=a.b.c; x=1' \
  --compressed -o answer.json \
  --data-raw $'{"type":"threads.list","params":{"text":"it\'s \\"5$\\" \u00e9"}}'"""


@pytest.mark.parametrize(
    ("form", "data", "body"),
    [
        ("request", LINES + b"\r\n" + BODY, BODY),
        ("request", (LINES + b"\r\n").replace(b"\r\n", b"\n") + BODY + b"\n", BODY + b"\n"),
        ("request", LINES, None),
        ("request", LINES.replace(b"HTTP/1.1\r\n", b"HTTP/2\r\n:authority: chat\r\n") + b"\r\n" + BODY, BODY + b"\n"),
        ("curl -v", VERBOSE, None),
        ("HAR", har(har_request()), BODY),
        ("HAR", json.dumps({"request": har_request()}), BODY),
        ("HAR", json.dumps(har_request(postData=None)), None),
    ],
)
def test_each_form_is_the_same_request(form: str, data: bytes | str, body: bytes | None) -> None:
    """Method, path, query and headers as they were sent; a body that was left out is not an empty one."""
    given = read(data)

    assert (given.form, given.method, given.target, given.headers) == (form, "POST", b"/chatkit?a=b", HEADERS)
    assert given.body == body or (given.body or b"").strip() == (body or b"").strip()
    assert (given.body is None) == (body is None)


def test_a_command_copied_from_a_browser() -> None:
    """Bash's quoting is undone, escapes and all; what curl adds by itself is added."""
    given = read(COMMAND)

    assert (given.form, given.method, given.target, given.body) == ("curl command", "POST", b"/chatkit?a=b", BODY)
    form = (b"content-type", b"application/x-www-form-urlencoded")
    assert given.headers == [*HEADERS[:2], (b"cookie", HEADERS[2][1]), form]


@pytest.mark.parametrize(
    ("command", "method", "body"),
    [
        ("curl https://chat/x", "GET", b""),
        ("curl -X DELETE https://chat/x", "DELETE", b""),
        ("curl -XPUT https://chat/x -d @file", "PUT", None),
        ("curl --url https://chat/x -d a=1 -d b=2", "POST", b"a=1&b=2"),
    ],
)
def test_what_curl_would_send(command: str, method: str, body: bytes | None) -> None:
    """Its method follows from its data; a body in a file is not in the capture."""
    given = read(command)

    assert (given.method, given.target, given.body) == (method, b"/x", body)


def test_the_one_that_was_refused_among_a_pages_requests() -> None:
    """Of a whole HAR the last refused request to a path of the gateway, or the last one to it."""
    others = [har_request("https://chat/logo.png"), har_request("https://chat/chatkit?n=1")]
    entries = json.loads(har(*others, har_request("https://chat/chatkit?n=2"), har_request("https://cdn/x.js")))
    plain = read(json.dumps(entries))
    entries["log"]["entries"][1]["response"]["status"] = 401
    refused = read(json.dumps(entries))

    assert (plain.target, refused.target) == (b"/chatkit?n=2", b"/chatkit?n=1")


def test_cookies_that_stand_apart() -> None:
    """Some browsers list them beside the headers."""
    given = read(har(har_request(headers=[], cookies=[{"name": "a", "value": "1"}, {"name": "b", "value": "2"}])))

    assert given.headers == [(b"cookie", b"a=1; b=2")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("eyJ.secret.token", "no request: give raw HTTP"),
        ("POST /chatkit HTTP/1.1\nsecret", "line 2 is no header"),
        ('{"secret": 1}', "no entry with a request"),
        ('{"secret"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('curl ^"https://secret^"', "cmd"),
        ("curl -H 'secret", "quote that does not end"),
        ("curl -H 'secret: 1'", "without a URL"),
    ],
)
def test_what_is_no_capture(data: str, said: str) -> None:
    """What one looks like, and nothing of what was given: it may be the secret itself."""
    with pytest.raises(ValueError, match=said) as caught:
        read(data)

    assert "secret" not in str(caught.value)


def test_an_announced_length_bounds_the_body() -> None:
    """What a terminal or an editor put behind it is not sent."""
    given = read(b"POST /chatkit HTTP/1.1\nContent-Length: 2\n\n{}\n\n")

    assert given.body == b"{}"
