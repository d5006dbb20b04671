"""The assertion where it travels: to the gateway from a client, stolen on its way, in place of a token."""

import json
from collections.abc import Mapping
from typing import Any

from tests.agent_backend.world import Gateway
from tests.attack.judge import Arrival
from tests.attack.marks import EVIL, SUBJECT
from tests.attack.requests import LIST, PUBLIC_URL, ask, bearer, cookie
from tests.attack.row import Attack, Refused, Served, Trial, row
from tests.attack.wire import Answer, Seen, exchange
from tests.attack.world import World
from tests.support.issuer import SigningKey

CREATE = json.dumps(
    {
        "type": "threads.create",
        "params": {
            "input": {
                "content": [{"type": "input_text", "text": "Hello."}],
                "attachments": [],
                "inference_options": {},
            }
        },
    }
).encode()


def mint(
    world: World,
    body: bytes = LIST,
    *,
    key: SigningKey | None = None,
    header: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """An assertion as the gateway mints it for the agent backend, or one changed."""
    good: dict[str, Any] = {"iss": PUBLIC_URL, "aud": "agent", "user": SUBJECT}
    return Gateway(key=key or world.signing.key).assertion(body, header=header, **{**good, **changes})


def straight(assertion: str, *headers: str, body: bytes = LIST, target: str = "/chatkit") -> bytes:
    return ask(f"X-Gateway-Assertion: {assertion}", *headers, body=body, target=target)


def _only_ours(world: World, arrival: Arrival, answer: Answer) -> None:
    assert arrival.claims["sub"] == SUBJECT
    assert arrival.claims["aud"] == "plain"
    assert arrival.claims["exp"] - arrival.claims["iat"] <= 60


def _stolen(world: World) -> str:
    """A true assertion, taken on its way to the agent backend: good once, for one request, and no more."""
    port = world.services["agent"].port
    before = len(world.backend.exchanges)
    exchange(world.services["gateway"].port, bearer(world.token(), target="/stolen"))
    taken = world.backend.exchanges[before]
    head = taken.head.decode("latin-1")
    assertion = next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("x-gateway-assertion"))
    attempts = {
        "another body": straight(assertion, body=LIST),
        "another path": straight(assertion, body=taken.body, target="/chatkit?x=1"),
        "the true one": straight(assertion, body=taken.body),
        "again": straight(assertion, body=taken.body),
        "again, by somebody else": straight(
            assertion, f"Authorization: Bearer {world.token(subject='mark-b')}", body=taken.body
        ),
    }
    seen = {name: exchange(port, request).answers[0] for name, request in attempts.items()}
    codes = [200 if answer.status == 200 else answer.json()["code"] for answer in seen.values()]
    replayed = "assertion_replayed"
    assert codes == ["assertion_wrong_body", "assertion_wrong_path", 200, replayed, replayed], f"{codes}"
    return "refused until it is the true one, and ever after"


def _talk(world: World, token: str, operation: str, **params: Any) -> Seen:
    body = CREATE if operation == "threads.create" else json.dumps({"type": operation, "params": params}).encode()
    return exchange(world.services["gateway"].port, cookie(token, body=body, target="/agent"), to_end=False)


def _same_subject(world: World) -> str:
    """Issuer main's user and issuer other's user have the same `sub`. They are two people."""
    main, other = world.token("main"), world.token("other")
    created = _talk(world, main, "threads.create").answers[0].body
    events = [json.loads(frame[6:]) for frame in created.split(b"\n\n") if frame.startswith(b"data: ")]
    thread = next(event["thread"]["id"] for event in events if event["type"] == "thread.created")
    statuses = [_talk(world, token, "threads.get_by_id", thread_id=thread).answers[0].status for token in (main, other)]
    listed = _talk(world, other, "threads.list").answers[0].json()["data"]
    assert statuses == [200, 404], f"statuses {statuses}"
    assert listed == [], f"{len(listed)} threads in the other's list"
    return "200 and 404"


def _in_place_of_a_bearer(world: World) -> str:
    """At an issuer whose keys are the gateway's own: signature, `iss` and `aud` all fit, only `typ` does not."""
    return mint(world)


ROWS: list[Attack] = [
    row(
        "sent by a client",
        "to the gateway, without a credential",
        lambda world: straight(mint(world)),
        Refused(status=401, code="credential_missing"),
    ),
    row(
        "sent by a client",
        "to the gateway, beside a credential",
        lambda world: bearer(world.token(), f"X-Gateway-Assertion: {mint(world, user=EVIL)}"),
        Served(check=_only_ours, note="ours arrives alone"),
    ),
    row(
        "used as a bearer token",
        "a true assertion as a bearer",
        lambda world: bearer(_in_place_of_a_bearer(world)),
        Refused(status=401, code="token_invalid"),
    ),
    row(
        "used as a bearer token",
        "a true assertion as a cookie",
        lambda world: cookie(mint(world)),
        Refused(status=401, code="token_invalid", cors=True),
    ),
    row(
        "used as a bearer token",
        "control: the same key, a user's token",
        lambda world: bearer(world.token("own")),
        Served(),
        own=True,
    ),
    Trial(
        threat="replayed",
        name="a true assertion, stolen on its way",
        wanted="good once, for one request",
        trial=_stolen,
    ),
    Trial(threat="same sub two issuers", name="one sub, two issuers", wanted="two people", trial=_same_subject),
]
