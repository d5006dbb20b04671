"""Bodies that are served: the user in them is ours, and every other byte the client's."""

from collections.abc import Callable
from typing import Any

from tests.attack.judge import Arrival
from tests.attack.marks import BODY, EVIL, SUBJECT
from tests.attack.requests import bearer
from tests.attack.row import Attack, Row, Served, row
from tests.attack.wire import Answer
from tests.attack.world import World

Check = Callable[[World, Arrival, Answer], None]


def text(members: str, *, params: str = "", kind: str = "threads.list") -> bytes:
    """A body with these further members, at the top and in ``params``."""
    more = f",{members}" if members else ""
    return f'{{"type":"{kind}","params":{{{params}}}{more}}}'.encode()


def within(metadata: str, *, top: str = "") -> bytes:
    """A threads.create whose ``params.input`` has these further members."""
    return text(
        top,
        params=f'"input":{{"content":[],"note":"{BODY}"{"," if metadata else ""}{metadata}}}',
        kind="threads.create",
    )


def served(
    threat: str, name: str, body: bytes, check: Check | None = None, *, own: bool = False, **options: Any
) -> Row:
    expected = Served(check=check, note="ours wins")
    return row(threat, name, lambda world: bearer(world.token(), body=body, **options), expected, own=own)


def _metadata(arrival: Arrival) -> list[dict[str, Any]]:
    body = arrival.json()
    places = [body, body["params"]["input"]] if "input" in body["params"] else [body]
    return [place["metadata"] for place in places]


def _only_ours(world: World, arrival: Arrival, answer: Answer) -> None:
    """No spelling of a reserved name is left but our own, once."""
    for metadata in _metadata(arrival):
        assert set(metadata) == {"userId", "userInfo", "gateway"}, f"metadata {sorted(metadata)}"
    assert EVIL.encode() not in arrival.body, "the client's own word is left"
    assert arrival.body.count(b'"userId"') == len(_metadata(arrival)), "userId stands more than once"


def _page_stays(world: World, arrival: Arrival, answer: Answer) -> None:
    for metadata in _metadata(arrival):
        assert metadata["userId"] == SUBJECT
        assert metadata["pageContext"] == {"url": "/pricing", "userId": "inner"}


def _top_wins(world: World, arrival: Arrival, answer: Answer) -> None:
    assert [metadata["a"] for metadata in _metadata(arrival)] == ["top", "top"]
    assert [metadata["b"] for metadata in _metadata(arrival)] == ["input", "input"]


SPELLINGS = (
    "userId", "userid", "USERID", "user_id", "User-Id", "user.id", " userId", "userId ", "u\\u0073erId",
    "\uff55serId", "u\u017ferId", "userInfo", "user_info", "USERINFO", "gateway", "Gateway", "GATE_WAY",
    "userId\\u0000",
)  # fmt: skip
VALUES = {"an array": "[]", "null": "null", "nested": '{"userId":{"userId":1}}', "a number": "1", "true": "true"}
UNCHANGED = {
    "an enormous integer": '"a":' + "9" * 4000,
    "numbers in odd forms": '"a":[1.0,1e5,1E+5,-0,0.10000000000000000001]',
    "escapes": '"a":"\\u00e9\\/\\ud83d\\ude00 \\ud800"',
    "emoji and blanks": '"a" : "\U0001f600" ,\n\t"b":[ ]',
    "JSON in a string": '"a":"{\\"metadata\\":{\\"userId\\":\\"x\\"}}"',
    "metadata elsewhere": '"a":{"userId":"x"},"userId":"x"',
    "a name twice elsewhere": '"a":{"b":1,"b":2}',
}


def _same_bytes(params: str) -> Check:
    def check(world: World, arrival: Arrival, answer: Answer) -> None:
        assert params.encode() in arrival.body, "changed"

    return check


ROWS: list[Attack] = [
    *(
        served(
            "identity in metadata",
            f"reserved name {name!r}",
            within(f'"metadata":{{"{name}":"{EVIL}"}}', top=f'"metadata":{{"{name}":"{EVIL}"}}'),
            _only_ours,
            own=name not in ("userId", "userInfo", "gateway"),
        )
        for name in SPELLINGS
    ),
    *(
        served(
            "reserved names", f"userId {name}", text(f'"metadata":{{"userId":{value},"userInfo":{value}}}'), _only_ours
        )
        for name, value in VALUES.items()
    ),
    served("duplicate metadata", "meta\\u0064ata alone", text(f'"meta\\u0064ata":{{"userId":"{EVIL}"}}'), _only_ours),
    served(
        "identity in metadata",
        "identity in the input alone",
        within(f'"metadata":{{"userId":"{EVIL}","gateway":1}}'),
        _only_ours,
    ),
    served(
        "identity in metadata",
        "page context stays",
        text('"metadata":{"pageContext":{"url":"/pricing","userId":"inner"}}'),
        _page_stays,
    ),
    served(
        "identity in metadata",
        "the top level wins",
        within('"metadata":{"a":"in","b":"input"}', top='"metadata":{"a":"top"}'),
        _top_wins,
        own=True,
    ),
    *(
        served("byte-identical", name, text("", params=params), _same_bytes(params))
        for name, params in UNCHANGED.items()
    ),
    served(
        "byte-identical",
        "blanks around everything",
        b' \n{ "type" : "threads.list" ,\r\n "params" : { } \t} ',
        own=True,
    ),
]
