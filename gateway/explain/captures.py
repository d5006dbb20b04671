"""A request as somebody captured it: raw HTTP, the output of `curl -v`, a curl command, or a HAR.

Rules: read generously, for people capture with what they have; invent nothing: what a capture leaves out is None and
stays so; a message about a bad capture quotes nothing of it. Knows nothing of routes. Pure.

Sources: RFC 9112 (messages); the HAR 1.2 format; bash's manual on quoting, for what browsers copy as cURL.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

Headers = list[tuple[bytes, bytes]]
Form = Literal["request", "curl -v", "curl command", "HAR", "token", "cookie"]

# Methods whose request has a body; a capture of one without is a capture that left it out.
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

_REQUEST_LINE = re.compile(rb"([A-Z]{3,10}) (\S+)(?: HTTP/[0-9.]+)?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A request that is to be explained.

    Attributes:
        form: How it was given. A token or a cookie alone says nothing of the page, and has no body.
        target: Path and query, as on a request line.
        headers: Names as they were written.
        body: None if it was not given.
    """

    form: Form
    method: str
    target: bytes
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)


def read_capture(data: bytes, is_ours: Callable[[bytes], bool]) -> Given:
    """Find out what kind of capture this is, and the request in it.

    Args:
        is_ours: Does this path belong to the gateway? A HAR has a whole page's requests.

    Raises:
        ValueError: It is none, and what one looks like.
    """
    data = data.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n\t ") + b"\n"
    if data.startswith((b"{", b"[")):
        return _read_har(data, is_ours)
    if re.match(rb"curl(?:\.exe)?\s", data):
        return _read_command(data.decode("utf-8", "surrogateescape"))
    if _sent_lines(data):
        return _read_message("curl -v", b"\r\n".join(_sent_lines(data)) + b"\r\n\r\n")
    return _read_message("request", data)


# raw HTTP, and curl -v


def _sent_lines(data: bytes) -> list[bytes]:
    """What `curl -v` says it sent; of several requests (redirects, say) the last."""
    sent: list[bytes] = []
    for line in data.splitlines():
        if line.startswith(b"> ") and line[2:].strip():
            if _REQUEST_LINE.fullmatch(line[2:]):
                sent = []
            sent.append(line[2:])
    return sent if sent and _REQUEST_LINE.fullmatch(sent[0]) else []


def _read_message(form: Form, data: bytes) -> Given:
    end = re.search(rb"\r?\n\r?\n", data)
    head, body = (data[: end.start()], data[end.end() :]) if end else (data.rstrip(b"\r\n"), b"")
    first, *lines = re.split(rb"\r?\n", head)
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise ValueError(
            "no request: give raw HTTP (POST /chatkit HTTP/1.1, headers, an empty line, the body), the output of "
            "curl -v, a command that a browser copied as cURL (bash), or a HAR"
        )
    headers = [_split_header(line, number) for number, line in enumerate(lines, 2)]
    # HTTP/2's own fields, as browsers show them among the headers.
    headers = [pair for pair in headers if pair[0]]
    method = match[1].decode()
    return Given(form=form, method=method, target=match[2], headers=headers, body=_body_of(method, headers, body))


def _split_header(line: bytes, number: int) -> tuple[bytes, bytes]:
    start = 1 if line.startswith(b":") else 0
    name, colon, value = line[start:].partition(b":")
    if not colon:
        raise ValueError(f"line {number} is no header (name: value); an empty line ends the headers")
    return (b"" if start else name), value.strip(b" \t")


def _body_of(method: str, headers: Headers, given: bytes) -> bytes | None:
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if not given:
        is_missing = method in _WITH_BODY and lengths != [b"0"]
        return None if is_missing else b""
    # What an editor or a terminal put behind it.
    if len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) < 12 and not given[int(lengths[0]) :].strip():
        return given[: int(lengths[0])]
    return given


# HAR


def _read_har(data: bytes, is_ours: Callable[[bytes], bool]) -> Given:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ValueError("looks like a HAR, and is not JSON") from exc
    entries = [entry for entry in _entries_of(value) if _is_request(entry.get("request"))]
    if not entries:
        raise ValueError("is JSON, but no HAR: no entry with a request")
    ours = [entry for entry in entries if is_ours(_target_of(entry["request"]["url"]).partition(b"?")[0])] or entries
    refused = [entry for entry in ours if _status_of(entry) >= 400]
    return _from_har((refused or ours)[-1]["request"])


def _entries_of(value: Any) -> list[dict[str, Any]]:
    """Of a whole HAR, its list, one entry, or a request alone."""
    if isinstance(value, dict) and isinstance(value.get("log"), dict):
        value = value["log"].get("entries")
    if isinstance(value, dict):
        value = [value if "request" in value else {"request": value}]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _is_request(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("method", "url"))


def _status_of(entry: Mapping[str, Any]) -> int:
    answer = entry.get("response")
    status = answer.get("status") if isinstance(answer, dict) else 0
    return status if isinstance(status, int) else 0


def _from_har(request: Mapping[str, Any]) -> Given:
    pairs = _pairs(request.get("headers"))
    headers = [(name, value) for name, value in pairs if not name.startswith(b":")]
    cookies = b"; ".join(name + b"=" + value for name, value in _pairs(request.get("cookies")))
    if cookies and not any(name.lower() == b"cookie" for name, _ in headers):
        headers.append((b"cookie", cookies))
    posted = request.get("postData")
    text = posted.get("text") if isinstance(posted, dict) else None
    method = request["method"].upper()
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""
    return Given(
        form="HAR",
        method=method,
        target=_target_of(request["url"]),
        headers=headers,
        body=_body_of(method, [], body),
    )


def _pairs(value: Any) -> Headers:
    items = value if isinstance(value, list) else []
    pairs = [(item.get("name"), item.get("value")) for item in items if isinstance(item, dict)]
    return [(_bytes(name), _bytes(text)) for name, text in pairs if isinstance(name, str) and isinstance(text, str)]


def _target_of(url: str) -> bytes:
    parts = urlsplit(url)
    return _bytes((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if "\udc80" <= max(text, default="") <= "\udcff" else "replace")


# a curl command

# Bash's words: $'…' with escapes, '…' without, "…", one escaped character, or plain ones.
_PIECE = re.compile(r"""\$'((?:[^'\\]|\\.)*)'|'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\$]+|\$)""", re.DOTALL)
_GAP = re.compile(r"(?:\s|\\\r?\n)*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{1,4})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

_HEADER, _COOKIE, _METHOD, _DATA, _URL = "header", "cookie", "method", "data", "url"
_OPTIONS: Final = {
    **dict.fromkeys(("-H", "--header"), _HEADER),
    **dict.fromkeys(("-b", "--cookie"), _COOKIE),
    **dict.fromkeys(("-X", "--request"), _METHOD),
    **dict.fromkeys(("-d", "--data", "--data-raw", "--data-binary", "--data-ascii"), _DATA),
    "--url": _URL,
}


def _read_command(text: str) -> Given:
    if '^"' in text:
        raise ValueError("a command for Windows' cmd: copy it as cURL (bash)")
    found: dict[str, list[str]] = {_HEADER: [], _COOKIE: [], _METHOD: [], _DATA: [], _URL: []}
    words = iter(_split_words(text)[1:])
    for word in words:
        if word in _OPTIONS:
            found[_OPTIONS[word]].append(next(words, ""))
        elif word[:2] in _OPTIONS and not word.startswith("--"):
            found[_OPTIONS[word[:2]]].append(word[2:])
        elif "://" in word and not word.startswith("-"):
            found[_URL].append(word)
    if not found[_URL]:
        raise ValueError("a curl command without a URL")
    return _from_command(found)


def _from_command(found: Mapping[str, list[str]]) -> Given:
    headers = [_split_header(_bytes(line), 1) for line in found[_HEADER] if ":" in line]
    names = {name.lower() for name, _ in headers}
    cookies = [value for value in found[_COOKIE] if "=" in value]
    if cookies:
        headers.append((b"cookie", _bytes("; ".join(cookies))))
    data = found[_DATA]
    if data and b"content-type" not in names:
        headers.append((b"content-type", b"application/x-www-form-urlencoded"))
    method = (found[_METHOD] or ["POST" if data else "GET"])[-1]
    # A body in a file is not in the capture.
    body = b"" if any(text.startswith("@") for text in data) else _bytes("&".join(data))
    target = _target_of(found[_URL][-1])
    return Given(form="curl command", method=method, target=target, headers=headers, body=_body_of(method, [], body))


def _split_words(text: str) -> list[str]:
    words: list[str] = []
    position = _gap(text, 0)
    while position < len(text):
        word = ""
        while match := _PIECE.match(text, position):
            if match[4] in ("\n", "\r"):
                break
            word += _piece(match)
            position = match.end()
        words.append(word)
        after = _gap(text, position)
        if after == position and position < len(text):
            raise ValueError("a curl command with a quote that does not end")
        position = after
    return words


def _gap(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position


def _piece(match: re.Match[str]) -> str:
    escaped, single, double, char, plain = match.groups()
    if escaped is not None:
        return _ESCAPE.sub(_unescape, escaped)
    if double is not None:
        return re.sub(r'\\([$`"\\])', r"\1", double)
    return next(part for part in (single, char, plain) if part is not None)


def _unescape(match: re.Match[str]) -> str:
    four, two, char = match.groups()
    return chr(int(four or two, 16)) if char is None else _LETTERS.get(char, char)
