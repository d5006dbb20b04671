"""A ChatKit body: read strictly, and written with the verified user in it and nothing else changed."""

import json
from typing import Any

import pytest
from chatkit.types import ChatKitReq, ThreadsCreateReq
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.chatkit.bodies import enrich, read_body, thread_of
from gateway.chatkit.operations import OPERATIONS
from gateway.errors import BodyTooLarge
from gateway.identity import Identity

ALL = frozenset(OPERATIONS)
ALICE = Identity(
    issuer="https://login.test", subject="alice", name="Älice", email="a@b.test", roles=("user",), expires_at=9.0
)
OURS = {
    "userId": "alice",
    "userInfo": {"id": "alice", "name": "Älice", "email": "a@b.test", "roles": ["user"]},
    "gateway": {"requestId": "r-1", "issuer": "https://login.test", "locale": "de"},
}
WRITTEN = json.dumps(OURS, separators=(",", ":"))


def rewrite(data: bytes, *, max_metadata: int = 10_000) -> bytes:
    body = read_body(data, ALL)
    return enrich(body, ALICE, request_id="r-1", locale="de", max_metadata=max_metadata)


# (as sent, as it goes on); % stands for what we write, without its opening brace.
UNCHANGED: dict[str, tuple[str, str]] = {
    "no metadata": (
        '{"type":"threads.list","params":{}}',
        '{"type":"threads.list","params":{},"metadata":{%}',
    ),
    "empty metadata": (
        '{"type":"threads.list","metadata":{},"params":{}}',
        '{"type":"threads.list","metadata":{%,"params":{}}',
    ),
    "no metadata in the input": (
        '{"type":"threads.create","params":{"input":{}}}',
        '{"type":"threads.create","params":{"input":{"metadata":{%}},"metadata":{%}',
    ),
    "white space and order": (
        ' {\n\t"params" : { "limit" : 1 } ,\r\n "metadata" : { } , "type" : "threads.list" }\n',
        ' {\n\t"params" : { "limit" : 1 } ,\r\n "metadata" : {% , "type" : "threads.list" }\n',
    ),
    "numbers": (
        '{"type":"items.list","params":{"a":12345678901234567890123,"b":1.10,"c":1E5,"d":-0,"e":1e-400}}',
        '{"type":"items.list","params":{"a":12345678901234567890123,"b":1.10,"c":1E5,"d":-0,"e":1e-400},"metadata":{%}',
    ),
    "5,000 digits": (
        '{"type":"items.list","params":{"a":' + "7" * 5000 + "}}",
        '{"type":"items.list","params":{"a":' + "7" * 5000 + '},"metadata":{%}',
    ),
    "escapes and emoji": (
        r'{"type":"items.list","params":{"a\u0062":"\u00e9é\/\ud83d\ude00😀\ud800\u0000"}}',
        r'{"type":"items.list","params":{"a\u0062":"\u00e9é\/\ud83d\ude00😀\ud800\u0000"},"metadata":{%}',
    ),
    "names that repeat where it is not our affair": (
        '{"type":"items.list","params":{"x":{"a":1,"a":2}}}',
        '{"type":"items.list","params":{"x":{"a":1,"a":2}},"metadata":{%}',
    ),
    "names as escapes": (
        r'{"\u0074ype":"items.list","p\u0061rams":{"\u0069nput":{"meta\u0064ata":{"a":1}}}}',
        r'{"\u0074ype":"items.list","p\u0061rams":{"\u0069nput":{"meta\u0064ata":{"a":1,%}},"metadata":{"a":1,%}',
    ),
    "metadata elsewhere": (
        '{"type":"items.list","params":{"metadata":{"userId":"x"},"x":{"metadata":{"userId":"y"}}}}',
        '{"type":"items.list","params":{"metadata":{"userId":"x"},"x":{"metadata":{"userId":"y"}}},"metadata":{%}',
    ),
    "the client's own metadata as written": (
        r'{"type":"items.list","params":{},"metadata":{ "pageContext" : { "n": 1.0, "\u0061":"😀" } , "z":1e5 }}',
        r'{"type":"items.list","params":{},"metadata":{"pageContext":{ "n": 1.0, "\u0061":"😀" },"z":1e5,%}',
    ),
    "both places, the top level wins": (
        '{"type":"items.list","params":{"input":{"metadata":{"a":1,"b":2},"t":0}},"metadata":{"b":3,"c":4}}',
        '{"type":"items.list","params":{"input":{"metadata":{"a":1,"b":3,"c":4,%,"t":0}},'
        '"metadata":{"a":1,"b":3,"c":4,%}',
    ),
    "the top level wins by decoded name": (
        r'{"type":"items.list","params":{"input":{"metadata":{"a":1}}},"metadata":{"\u0061":2}}',
        r'{"type":"items.list","params":{"input":{"metadata":{"\u0061":2,%}},"metadata":{"\u0061":2,%}',
    ),
}


@pytest.mark.parametrize(("sent", "expected"), UNCHANGED.values(), ids=UNCHANGED.keys())
def test_everything_outside_the_metadata_reaches_the_backend_byte_for_byte(sent: str, expected: str) -> None:
    """No number, escape, order or white space changes; the client's own metadata keeps its text, too."""
    assert rewrite(sent.encode()).decode() == expected.replace("%", WRITTEN[1:])


RESERVED = [
    *("userId", "userInfo", "gateway", "USERID", "userid", "user_id", "user-id", "User_Info", "USER__INFO", "Gateway"),
    *("userId ", " userId", "user id", "user.id", "$userId", "user:info", "_userId_", "gate-way", "\tuserId"),
    *("\uff55serId", "u\u017ferId", "user\u0130d", "user\u0131d", "user\u200bId", "user\u00adId", "\ufeffuserId"),
    *("\U0001d42eserId", "userI\u0301d", "user\x00Id", "user\u2060info", "\u24e4serId"),
]


@pytest.mark.parametrize("value", ['"root"', "null", "[1]", '{"id":"root","roles":["admin"]}', "0", "true"])
@pytest.mark.parametrize("name", RESERVED, ids=ascii)
def test_a_client_cannot_name_itself(name: str, value: str) -> None:
    """Reserved names lose in every spelling, as any value, in both places."""
    forged = json.dumps(name) + ":" + value + ',"page":1'
    sent = f'{{"type":"items.list","params":{{"input":{{"metadata":{{{forged}}}}}}},"metadata":{{{forged}}}}}'

    written = json.loads(rewrite(sent.encode()))

    assert written == {
        "type": "items.list",
        "params": {"input": {"metadata": {"page": 1, **OURS}}},
        "metadata": {"page": 1, **OURS},
    }


def test_names_of_the_clients_own_survive() -> None:
    """Also those that begin like a reserved one."""
    own = {
        "pageContext": {"userId": "x"},
        "userIds": 1,
        "user": 2,
        "info": 3,
        "gatewayVersion": 4,
        "": 5,
        "пользователь": 6,
    }

    assert json.loads(rewrite(json.dumps({"type": "items.list", "params": {}, "metadata": own}).encode())) == {
        "type": "items.list",
        "params": {},
        "metadata": {**own, **OURS},
    }


MINIMAL = b'"type":"items.list","params":{}'


@pytest.mark.parametrize(
    ("outer", "inner", "size"),
    [
        ('{"a":"xyz"}', "{}", 10),
        ("{}", '{"a":"xyz"}', 10),
        ('{ "a" : "xyz" }', "{}", 10),
        ('{"a":"ä"}', "{}", 9),
        ('{"a":"xyz","userId":"' + "x" * 1000 + '"}', '{"GATEWAY":"' + "x" * 1000 + '"}', 10),
        ('{"a":1}', '{"a":"' + "x" * 1000 + '","b":2}', 12),
    ],
    ids=["top", "input", "white space", "bytes", "reserved do not count", "what loses does not count"],
)
def test_the_clients_metadata_has_a_cap_in_bytes(outer: str, inner: str, size: int) -> None:
    """What remains of both places together counts, to the byte; above the cap 413."""
    sent = f'{{"type":"items.list","params":{{"input":{{"metadata":{inner}}}}},"metadata":{outer}}}'.encode()

    assert json.loads(rewrite(sent, max_metadata=size))["metadata"]["userId"] == "alice"
    with pytest.raises(BodyTooLarge, match=f"client metadata of {size} bytes, max_metadata is {size - 1}"):
        rewrite(sent, max_metadata=size - 1)


def test_an_identity_with_odd_text_is_written_as_json() -> None:
    """Quotes, breaks and half surrogate pairs stay inside their strings, and the body stays UTF-8."""
    odd = Identity(issuer="https://x", subject='"},"a":{"\r\n\ud800', name="\u2028", roles=("\x00",), expires_at=1.0)

    data = enrich(read_body(b"{" + MINIMAL + b"}", ALL), odd, request_id='"', locale=None, max_metadata=0)

    metadata = json.loads(data)["metadata"]
    assert metadata["userId"] == odd.subject
    assert metadata["userInfo"] == {"id": odd.subject, "name": "\u2028", "email": None, "roles": ["\x00"]}
    assert metadata["gateway"] == {"requestId": '"', "issuer": "https://x", "locale": None}


def test_chatkit_reads_what_we_write() -> None:
    """The real request type takes the enriched body, with the user at the top level."""
    sent = {
        "type": "threads.create",
        "params": {
            "input": {"content": [{"type": "input_text", "text": "hi"}], "attachments": [], "inference_options": {}}
        },
    }

    request = TypeAdapter[ChatKitReq](ChatKitReq).validate_json(rewrite(json.dumps(sent).encode()))

    assert isinstance(request, ThreadsCreateReq)
    assert request.metadata == OURS


NAMES = st.sampled_from(["a", "b", "userId", "USER_ID", "gateway", "é", "\U0001f600", "\ud800"]) | st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=4)
OTHERS = st.dictionaries(st.sampled_from(["x", "y", "thread_id", "\n"]), VALUES, max_size=3)


def own(metadata: dict[str, Any]) -> dict[str, Any]:
    plain = {name: "".join(filter(str.isalnum, name)).casefold() for name in metadata}
    return {name: value for name, value in metadata.items() if plain[name] not in ("userid", "userinfo", "gateway")}


@given(OTHERS, OTHERS, OTHERS, METADATA, METADATA, st.booleans(), st.sampled_from(["compact", None, 1, "\t"]))
@settings(database=None, deadline=None, max_examples=200)
def test_any_body_goes_on_as_the_same_body_with_our_user_in_it(
    top: Any, params: Any, given_input: Any, outer: Any, inner: Any, ascii_only: bool, indent: int | str | None
) -> None:
    """Round trip: the same values, order of names included, with the metadata that plain Python would have made."""
    params["input"] = {**given_input, "metadata": inner}
    sent = {**top, "type": "threads.create", "metadata": outer, "params": params}
    layout: dict[str, Any] = {"separators": (",", ":")} if indent == "compact" else {"indent": indent}
    text = json.dumps(sent, ensure_ascii=ascii_only, **layout)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = json.dumps(sent, **layout).encode()

    expected = {**own(inner), **own(outer), **OURS}
    sent["params"]["input"]["metadata"] = sent["metadata"] = expected
    written = json.loads(rewrite(data))
    assert written == sent
    assert (list(written), list(written["params"])) == (list(sent), list(sent["params"]))


@pytest.mark.parametrize(
    ("params", "thread"),
    [
        ('{"thread_id":"thr_1"}', "thr_1"),
        ('{ "thread_id" : "thr_1" }', "thr_1"),
        ('{ "thread_\\u0069d" : "thr_\\u0031" }', "thr_1"),
        ('{"thread_id":"\\ud800"}', "\ud800"),
        ('{"thread_id":1}', None),
        ('{ "thread_id" : {"a": "thr_1"} }', None),
        ('{"thread_id":null}', None),
        ("{}", None),
        ('{"input":{"thread_id":"thr_1"}}', None),
    ],
)
def test_the_thread_that_a_body_names(params: str, thread: str | None) -> None:
    """Whichever way the body was read; nothing but a string in its one place is one."""
    body = read_body(b'{"type":"threads.get_by_id","params":' + params.encode() + b"}", ALL)

    assert thread_of(body) == thread
