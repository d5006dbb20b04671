"""The checks that every refusal and every served request gets, whatever its row looks at besides."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_backend.problems import Problem
from gateway.errors import GatewayError
from tests.attack.marks import COOKIE, EVIL, MARK, TOKEN
from tests.attack.wire import Answer, Seen
from tests.attack.world import World
from tests.support.issuer import b64
from tests.support.scripted import Exchange

# Seconds until a refusal must be there.
MAX_SECONDS = 2.0

# What a backend may be sent by the routes here, and what of it comes exactly once.
_ALLOWED = {"accept", "accept-language", "chatkit-frame-instance-id", "content-type", "x-page"}
_OURS = {
    "host",
    "content-length",
    "x-gateway-assertion",
    "x-request-id",
    "accept-encoding",
    "x-forwarded-for",
    "traceparent",
}
_MEMBERS = {"type", "title", "status", "code", "message", "request_id", "rule"}
_METADATA = re.compile(r'(,?\s*)"metadata"\s*:\s*')


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it came to the backend; ``claims`` are its assertion's, verified."""

    request_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    claims: Mapping[str, Any]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)


def check_refused(seen: Seen, *, status: int, code: str, closed: bool = False, cors: bool = False) -> Answer:
    """A problem with this status and code, in time, that repeats nothing of what was sent."""
    assert len(seen.answers) == 1, f"{len(seen.answers)} answers: {seen.raw[:200]!r}"
    answer = seen.answers[0]
    assert answer.one("content-type") == "application/problem+json", f"{answer.status} {answer.headers}"
    problem = answer.json()
    assert (answer.status, problem["code"]) == (status, code), f"{answer.status} {problem['code']}"
    assert problem["status"] == status
    assert problem["message"] in SENTENCES, f"not one of the fixed sentences: {problem['message']!r}"
    assert problem.keys() <= _MEMBERS, f"members {sorted(problem)}"
    assert MARK.encode() not in seen.raw, f"it repeats what was sent: {seen.raw!r}"
    assert TOKEN.encode() not in seen.raw, f"it repeats a token: {seen.raw!r}"
    assert seen.seconds < MAX_SECONDS, f"after {seen.seconds:.1f} s"
    assert seen.closed or not closed, "the connection stays open"
    readable = bool(answer.all("access-control-allow-origin"))
    assert readable == cors, f"access-control-allow-origin {answer.all('access-control-allow-origin')}"
    return answer


def check_served(
    world: World, request: bytes | Sequence[bytes], seen: Seen, arrived: Sequence[Exchange], *, closed: bool
) -> Arrival:
    """One request at the backend, with our headers and our user in it, and every other byte the client's."""
    assert len(seen.answers) == 1, f"{len(seen.answers)} answers: {seen.raw[:300]!r}"
    answer = seen.answers[0]
    assert 200 <= answer.status < 300, f"{answer.status} {answer.body[:300]!r}"
    assert len(arrived) == 1, f"{len(arrived)} requests at the backend"
    assert seen.closed or not closed, "the connection stays open"
    arrival = read_arrival(world, arrived[0])
    check_arrival(arrival)
    sent = request if isinstance(request, bytes) else b"".join(request)
    if b"transfer-encoding" not in sent.lower():
        check_body(sent.partition(b"\r\n\r\n")[2], arrival)
    return arrival


def read_arrival(world: World, exchange: Exchange) -> Arrival:
    request_line, *lines = exchange.head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    assertions = [value for name, value in headers if name == "x-gateway-assertion"]
    assert len(assertions) == 1, f"{len(assertions)} assertions at the backend"
    return Arrival(
        request_line=request_line, headers=headers, body=exchange.body, claims=read_assertion(world, assertions[0])
    )


def read_assertion(world: World, token: str) -> Mapping[str, Any]:
    """The claims of an assertion; one that the gateway's key has not signed fails the row."""
    header, claims, signature = token.split(".")
    assert world.signing.is_signed(f"{header}.{claims}".encode(), _bytes(signature)), "not the gateway's signature"
    read: Mapping[str, Any] = json.loads(_bytes(claims))
    return read


def check_arrival(arrival: Arrival) -> None:
    names = [name for name, _ in arrival.headers]
    extra = set(names) - _ALLOWED - _OURS - {"authorization"}
    assert not extra, f"headers at the backend: {sorted(extra)}"
    for name in (*_OURS, "content-type"):
        assert names.count(name) == 1, f"{names.count(name)} {name} headers at the backend"
    assert names.count("authorization") <= 1
    head = json.dumps([arrival.headers, arrival.claims])
    assert EVIL not in head, f"the client's own word about itself: {head}"
    assert COOKIE not in head, f"a cookie at the backend: {head}"
    assert arrival.all("x-forwarded-for") == ["127.0.0.1"], f"forwarded for {arrival.all('x-forwarded-for')}"
    assert arrival.all("content-length") == [str(len(arrival.body))]
    method, path, _ = arrival.request_line.split(" ")
    about = {"method": method, "path": path, "sha256": hashlib.sha256(arrival.body).hexdigest()}
    assert arrival.claims["req"] == about, f"asserted {arrival.claims['req']}, sent {about}"


def check_body(sent: bytes, arrival: Arrival) -> None:
    """Ours wins in both places, and outside of them nothing has changed."""
    body = arrival.json()
    places = [body, body["params"]["input"]] if "input" in body["params"] else [body]
    for place in places:
        ours = place["metadata"]
        assert ours["userId"] == ours["userInfo"]["id"] == arrival.claims["sub"], f"userId {ours['userId']!r}"
        assert ours["gateway"]["issuer"] == arrival.claims["user_issuer"]
        assert EVIL not in json.dumps([ours[name] for name in ("userId", "userInfo", "gateway")])
    if b"\\u" not in sent:
        left, right = without_metadata(sent.decode()), without_metadata(arrival.body.decode())
        assert left == right, f"outside metadata: {right!r} for {left!r}"


def without_metadata(text: str) -> str:
    """The text with its two metadata members, and the comma each brought, cut out."""
    decoder = json.JSONDecoder()
    while found := _METADATA.search(text):
        end = decoder.raw_decode(text, found.end())[1]
        tail = text[end:].lstrip() if not found[1] else text[end:]
        text = text[: found.start()] + (tail.removeprefix(",") if not found[1] else tail)
    return text


def _sentences(kind: type[Any]) -> set[str]:
    """The fixed sentences of a taxonomy of errors."""
    below = set().union(*(_sentences(child) for child in kind.__subclasses__()))
    return below | ({kind.message} if hasattr(kind, "message") else set())


# What an answer may say: never the exception's own text, which names values.
SENTENCES = _sentences(GatewayError) | _sentences(Problem)


def _bytes(part: str) -> bytes:
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    assert b64(data) == part
    return data
