"""Bodies that two readers could read differently, or that are too much: refused, never forwarded as they came."""

import gzip
import json
from typing import Any

from tests.attack.marks import EVIL
from tests.attack.requests import bearer
from tests.attack.row import Attack, Refused, Row, row
from tests.attack.rows.bodies import text, within

BAD = Refused(status=400, code="malformed_body")
LARGE = Refused(status=413, code="body_too_large")
MEDIA = Refused(status=415, code="unsupported_media_type")
FORBIDDEN = Refused(status=403, code="operation_forbidden")


def refused(
    threat: str, name: str, body: bytes, expected: Refused = BAD, *headers: str, own: bool = False, **options: Any
) -> Row:
    return row(threat, name, lambda world: bearer(world.token(), *headers, body=body, **options), expected, own=own)


DUPLICATES = {
    "metadata twice": text('"metadata":{},"metadata":{}'),
    "metadata twice, one escaped": text('"metadata":{},"meta\\u0064ata":{}'),
    "params twice": b'{"type":"threads.list","params":{},"params":{}}',
    "type twice": b'{"type":"threads.list","type":"threads.delete","params":{}}',
    "input twice": text("", params='"input":{},"input":{}', kind="threads.create"),
    "metadata of input twice": within('"metadata":{},"metadata":{}'),
    "a name in metadata twice": text('"metadata":{"a":1,"a":2}'),
    "a name deep in metadata twice": text('"metadata":{"a":{"b":{"c":1,"c":2}}}'),
    "Metadata beside metadata": text('"metadata":{},"Metadata":{"userId":"mark-evil-7f3a"}'),
    "Metadata alone": text('"Metadata":{"userId":"mark-evil-7f3a"}'),
    "METADATA of input": within('"METADATA":{}'),
    "Params beside params": b'{"type":"threads.list","params":{},"Params":{}}',
    "Type beside type": b'{"Type":"threads.delete","type":"threads.list","params":{}}',
}
MISSHAPEN = {
    "metadata an array": text('"metadata":[{"userId":1}]'),
    "metadata null": text('"metadata":null'),
    "metadata a string": text(f'"metadata":"{EVIL}"'),
    "metadata of input an array": within('"metadata":[]'),
    "input a list": text("", params='"input":[{"metadata":{}}]', kind="threads.create"),
    "params a list": b'{"type":"threads.list","params":[]}',
    "params missing": b'{"type":"threads.list"}',
    "type missing": b'{"params":{}}',
    "type a list": b'{"type":["threads.list"],"params":{}}',
    "type nobody knows": b'{"type":"mark-body-7f3a","params":{}}',
    "type in upper case": b'{"type":"THREADS.LIST","params":{}}',
}
NOT_JSON = {
    "NaN": text("", params='"a":NaN'),
    "Infinity": text("", params='"a":-Infinity'),
    "1e999": text("", params='"a":1e999'),
    "depth 200,000": text("", params='"a":' + "[" * 200_000 + "]" * 200_000),
    "invalid UTF-8": text("", params='"a":"X"').replace(b"X", b"\xff\xfe"),
    "overlong UTF-8": text("", params='"a":"X"').replace(b"X", b"\xc0\xaf"),
    "a UTF-8 surrogate": text("", params='"a":"X"').replace(b"X", b"\xed\xa0\x80"),
    "a byte order mark": b"\xef\xbb\xbf" + text(""),
    "UTF-16": text("").decode().encode("utf-16"),
    "empty": b"",
    "blank": b" \r\n ",
    "trailing data": text("") + b"{}",
    "a trailing comma": b'{"type":"threads.list","params":{},}',
    "a comment": b'{"type":"threads.list",/**/"params":{}}',
    "single quotes": b"{'type':'threads.list','params':{}}",
    "no object": b'["threads.list"]',
    "a string": b'"threads.list"',
    "NUL behind": text("") + b"\0",
    "cut off": text("")[:-1],
    "a control in a string": text("", params='"a":"\x01"'),
    "two lines of JSON": text("") + b"\n" + text(""),
}


ROWS: list[Attack] = [
    *(refused("duplicate metadata", name, body) for name, body in DUPLICATES.items()),
    *(refused("reserved names", name, body, own=True) for name, body in MISSHAPEN.items()),
    *(refused("not strict JSON", name, body) for name, body in NOT_JSON.items()),
    refused("10 MB", "10 MB, declared", text("", params=f'"a":"{"x" * 10_000_000}"'), LARGE),
    refused(
        "10 MB",
        "10 MB in chunks",
        b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n" + b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n0\r\n\r\n",
        LARGE,
        "Transfer-Encoding: chunked",
        length=False,
    ),
    refused("10 MB", "Content-Length of 18 digits", b"", LARGE, "Content-Length: " + "9" * 18, length=False, own=True),
    refused("10 MB", "40 KB of metadata", text(f'"metadata":{{"a":"{"x" * 40_000}"}}'), LARGE, own=True),
    refused(
        "10 MB",
        "100,000 names",
        text("", params="").replace(b"{}", b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}"),
        own=True,
    ),
    refused("charset and coding", "charset=utf-16", text(""), MEDIA, media="application/json; charset=utf-16"),
    refused("charset and coding", "charset=utf-7", text(""), MEDIA, media="application/json; charset=utf-7", own=True),
    refused(
        "charset and coding",
        "charset twice",
        text(""),
        MEDIA,
        media="application/json; charset=utf-8; charset=utf-16",
        own=True,
    ),
    refused("charset and coding", "a gzip bomb", gzip.compress(bytes(50_000_000), 1), MEDIA, "Content-Encoding: gzip"),
    refused("charset and coding", "gzip without saying so", gzip.compress(text("")), own=True),
    refused(
        "charset and coding",
        "Content-Encoding: identity, gzip",
        text(""),
        MEDIA,
        "Content-Encoding: identity, gzip",
        own=True,
    ),
    refused(
        "charset and coding",
        "Content-Encoding twice",
        text(""),
        Refused(status=400, code="malformed_request"),
        "Content-Encoding: identity",
        "Content-Encoding: gzip",
        own=True,
    ),
    row(
        "operations",
        "an operation the route leaves out",
        lambda world: bearer(
            world.token("one"),
            body=json.dumps({"type": "threads.delete", "params": {"thread_id": "t"}}).encode(),
            target="/narrow",
        ),
        FORBIDDEN,
        own=True,
    ),
    row(
        "operations",
        "the same, its type escaped",
        lambda world: bearer(world.token("one"), body=b'{"type":"threads.delet\\u0065","params":{}}', target="/narrow"),
        FORBIDDEN,
        own=True,
    ),
]
