"""Where a request ends: said once, in one way, or refused with the connection closed."""

from tests.attack.requests import LIST, bearer
from tests.attack.row import Attack, Refused, Row, row

REQUEST = Refused(status=400, code="malformed_request", closed=True)
THREAT = "CL and TE"
CHUNKS = "bad chunks"


def _framed(name: str, *headers: str | bytes, body: bytes = LIST, threat: str = THREAT, own: bool = False) -> Row:
    """A good request but for what it says about its length."""
    return row(threat, name, lambda world: bearer(world.token(), *headers, body=body, length=False), REQUEST, own=own)


def _chunked(name: str, body: bytes, *, own: bool = False) -> Row:
    return _framed(name, "Transfer-Encoding: chunked", body=body, threat=CHUNKS, own=own)


LENGTHS = {
    "+5": "+5", "-1": "-1", "0x5": "0x5", "5, 5": "5, 5", "5;5": "5;5", "five": "five", "1e1": "1e1",
    "empty": "", "20 digits": "9" * 20, "5 5": "5 5", "with underscore": "1_0",
}  # fmt: skip
CODINGS = {
    "xchunked": "xchunked", "chunked, chunked": "chunked, chunked", "identity": "identity",
    "gzip, chunked": "gzip, chunked",
    "chunked, identity": "chunked, identity", "chunked;q=1": "chunked;q=1", "vertical tab": "\x0bchunked",
    "quoted": '"chunked"', "empty": "", "deflate": "deflate",
}  # fmt: skip
ZERO = b"0\r\n\r\n"


ROWS: list[Attack] = [
    _framed("Content-Length and Transfer-Encoding", f"Content-Length: {len(LIST)}", "Transfer-Encoding: chunked"),
    _framed("Transfer-Encoding, then Content-Length", "Transfer-Encoding: chunked", "Content-Length: 5", body=ZERO),
    _framed("two Content-Length, different", f"Content-Length: {len(LIST)}", "Content-Length: 5"),
    _framed("two Content-Length, the same", f"Content-Length: {len(LIST)}", f"Content-Length: {len(LIST)}"),
    _framed("two Transfer-Encoding", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=ZERO, own=True),
    _framed("Content-Length, blank before the colon", f"Content-Length : {len(LIST)}", own=True),
    _framed("Transfer-Encoding on two lines", "Transfer-Encoding:\r\n chunked", body=ZERO, own=True),
    *(_framed(f"Content-Length {name}", f"Content-Length: {value}", own=True) for name, value in LENGTHS.items()),
    *(
        _framed(f"Transfer-Encoding {name}", f"Transfer-Encoding: {value}", body=ZERO, own=True)
        for name, value in CODINGS.items()
    ),
    _chunked("size in words", b"five\r\nhello\r\n" + ZERO),
    _chunked("size with 0x", b"0x5\r\nhello\r\n" + ZERO),
    _chunked("size with a sign", b"+5\r\nhello\r\n" + ZERO, own=True),
    _chunked("size beyond 64 bits", b"fffffffffffffffff\r\nhello\r\n" + ZERO),
    _chunked("no line end behind the data", b"5\r\nhelloX\r\n" + ZERO),
    _chunked("bare LF behind the size", b"5\nhello\r\n" + ZERO, own=True),
    _chunked("bare LF behind the data", b"5\r\nhello\n" + ZERO, own=True),
    _chunked("no size", b"\r\nhello\r\n" + ZERO, own=True),
    _chunked("extension with a bare LF", b"5;a\nb=1\r\nhello\r\n" + ZERO, own=True),
]
