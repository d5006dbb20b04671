"""Why was this request refused? The answer is held to what the running gateway answers."""

import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.signed_urls import SignedObject, UrlSigner
from gateway.explain import explain, read_given, use_key_files
from gateway.settings import load_settings
from tests.gateway.explain.world import LISTING, ORIGIN, Explained, World
from tests.support.issuer import Issuer, encode, signing_key
from tests.support.raw import connected
from tests.support.running import running_gateway

RULES = """issuers = ["main"]
max_metadata = 100
max_body = 2048
operations = ["threads.list", "threads.delete", "threads.create"]
[routes.support.require]
roles = ["user"]
[routes.support.rules."threads.delete"]
scopes = ["delete"]
"""
OTHER = """
[issuers.other]
issuer = "https://other.example.com"
jwks_file = "{keys}"
audiences = ["chat"]
"""


def tokens(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Good ones, and one for each way not to be."""
    key = issuer.keys[0]
    now = int(time.time())
    yield "good", issuer.token()
    yield "other issuer", Issuer(issuer="https://other.example.com", keys=issuer.keys).token()
    yield "unknown issuer", issuer.token(iss="https://login.example.com/")
    yield "wrong key", Issuer(issuer=issuer.issuer, keys=[signing_key("RS256", kid="k1", name="else")]).token()
    yield "unknown kid", issuer.token(header={"kid": "k9"})
    yield "wrong alg", issuer.token(header={"alg": "HS256"})
    yield "critical", issuer.token(header={"crit": ["b64"]})
    yield "logout token", issuer.token(header={"typ": "logout+jwt"})
    yield "wrong aud", issuer.token(aud="shop")
    yield "no aud", issuer.token(aud=None)
    yield "expired", issuer.token(exp=now - 3600)
    yield "no exp", issuer.token(exp=None)
    yield "from the future", issuer.token(iat=now + 3600)
    yield "no sub", issuer.token(sub=None)
    yield "no role", issuer.token(roles=["guest"])
    yield "no object", encode({"alg": "RS256", "kid": "k1"}, ["x"], key)
    yield "encrypted", "a.b.c.d.e"
    yield "too long", "a." * 10_000
    yield "no token", "abc"


def credentials(issuer: Issuer) -> Iterator[tuple[str, list[str]]]:
    yield "none", []
    yield "other cookies", ["Cookie: theme=dark; lang=en"]
    yield "basic", ["Authorization: Basic abc"]
    for name, token in tokens(issuer):
        yield f"{name} as cookie", [f"Cookie: a=b; auth_token={token}"]
    good = issuer.token()
    yield "good as bearer", [f"Authorization: Bearer {good}"]
    yield "twice", [f"Cookie: auth_token={good}; auth_token={good}"]
    yield "two users", [f"Cookie: auth_token={good}", f"Authorization: Bearer {issuer.token('bob')}"]
    yield "in parts", [f"Cookie: auth_token.0={good[:100]}; auth_token.1={good[100:]}"]
    yield "a part missing", [f"Cookie: auth_token.0={good[:100]}; auth_token.2={good[100:]}"]
    yield "twenty headers too many", [f"X-{number}: 1" for number in range(120)]


BODIES = {
    "listing": LISTING,
    "unknown": b'{"type":"threads.explode","params":{}}',
    "not listed": b'{"type":"items.list","params":{}}',
    "needs a scope": b'{"type":"threads.delete","params":{}}',
    "not JSON": b'{"type":',
    "large metadata": b'{"type":"threads.list","params":{},"metadata":{"page":"%s"}}' % (b"x" * 200),
    "too large": b'{"type":"threads.list","params":{},"x":"%s"}' % (b"x" * 4096),
}
PAGES = {"listed": f"Origin: {ORIGIN}", "evil": "Origin: https://evil.example", "silent": "Accept: */*"}
KINDS = {"json": "Content-Type: application/json", "text": "Content-Type: text/plain"}
TARGETS = ("/chatkit", "/nothing", "/x/../chatkit", "/session", "/session?route=none", "/livez")
METHODS = ("POST", "GET", "OPTIONS")


# Which of the credentials meet every other fault.
PAIRED = ("none", "good as cookie", "expired as cookie", "no role as cookie", "good as bearer")


def requests_of(world: World) -> Iterator[tuple[str, bytes]]:
    """Each fault alone, and each pair of faults: the first one met decides."""
    known = dict(credentials(world.issuer))
    axes: list[Mapping[str, object]] = [
        {target: target for target in TARGETS},
        {method: method for method in METHODS},
        {name: known[name] for name in PAIRED},
        PAGES,
        KINDS,
        BODIES,
    ]
    usual = ["/chatkit", "POST", "good as cookie", "listed", "json", "listing"]
    chosen = {(*usual[:2], name, *usual[3:]) for name in known}
    for one, two in itertools.combinations(range(len(axes)), 2):
        for first, second in itertools.product(axes[one], axes[two]):
            names = [*usual]
            names[one], names[two] = first, second
            chosen.add(tuple(names))
    for target, method, credential, page, kind, body in sorted(chosen):
        headers = [*known[credential], PAGES[page], KINDS[kind]]
        if method == "OPTIONS":
            headers.append("Access-Control-Request-Method: POST")
        label = f"{method} {target}, {credential}, {page}, {kind}, {body}"
        yield label, world.request(*headers, method=method, target=target, body=BODIES[body])


def answer_of(port: int, data: bytes) -> str:
    """The running gateway's: the code of a refusal, or ``accepted``; nobody listens where its backend should be."""
    with connected(port) as client:
        client.send(data)
        head = client.read_until(b"\r\n\r\n")
        if head.split()[1] in (b"200", b"204"):
            return "accepted"
        code = str(json.loads(client.read_until(b"}"))["code"])
    return "accepted" if code.startswith("backend_") else code


def test_it_says_what_the_running_gateway_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For each fault and each pair of faults the same code: the steps are those of the request path, in its order."""
    world = World(tmp_path, capsys, issuers=OTHER.format(keys=tmp_path / "jwks.json"), routes=RULES)
    served = world.settings.read_text().replace(
        'jwks_url = "https://nowhere.invalid/jwks"', f'jwks_file = "{world.keys}"'
    )
    cases = dict(requests_of(world))
    (tmp_path / "served").mkdir()
    with running_gateway(tmp_path / "served", served) as url:
        port = int(url.rpartition(":")[2])
        answered = {label: answer_of(port, data) for label, data in cases.items()}
    settings = use_key_files(load_settings(world.settings), {"main": world.keys})
    explained = {}
    for label, data in cases.items():
        explain(settings, read_given("request", data, settings, None))
        explained[label] = Explained(0, *capsys.readouterr()).verdict.partition(",")[0]

    assert {label: (answered[label], said) for label, said in explained.items() if said != answered[label]} == {}
    assert len(set(answered.values())) > 15


def test_each_step_with_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Route, issuer, key and rule, by the names they have in the settings."""
    world = World(tmp_path, capsys, routes='[routes.support.require]\nroles = ["user", "admin"]')
    said = world.explain("request", world.request(body=b'{"type":"threads.create","params":{}}'))
    left = said.steps["claims"][1].rpartition(", ")[2]

    assert 590 <= int(left.removesuffix(" s left")) <= 600
    assert (said.code, said.verdict) == (0, "accepted")
    assert said.steps == {
        "request": ("ok", "POST /chatkit, 5 headers, 37 bytes of body"),
        "route": ("ok", "support, at /chatkit"),
        "method": ("ok", "POST is one of POST"),
        "credential": ("ok", f"cookie 'auth_token', {len(world.issuer.token())} bytes"),
        "cross-site": ("ok", "origin 'https://app.example.com' may use the cookie"),
        "token": ("ok", "header and claims can be read"),
        "issuer": ("ok", "main, by iss 'https://login.example.com'"),
        "header": ("ok", "alg RS256, kid 'k1'"),
        "key": ("ok", f"kid 'k1', the only one from {world.keys}"),
        "signature": ("ok", "fits the key"),
        "claims": ("ok", f"aud has ['chat'], {left}"),
        "user": ("ok", f"{user_digest(world)}, as the log names this one"),
        "route's issuers": ("ok", "main is among main"),
        "access": ("ok", "routes.support.require: one of the roles ['admin', 'user']"),
        "body": ("ok", "threads.create, answered with a stream"),
        "metadata": ("ok", "the client's own is under 32768 bytes, and the user is written into it"),
        "limits": ("-", "not counted here"),
        "backend": ("ok", "support, as audience 'support', with the user's token; not contacted"),
    }


def user_digest(world: World) -> str:
    return hashlib.sha256(f"{world.issuer.issuer}\0alice".encode()).hexdigest()[:16]


def test_what_was_not_given_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cookie alone says nothing of page and body; a token is taken as a bearer."""
    world = World(tmp_path, capsys)
    token = world.issuer.token()
    as_token, as_value, as_header = (
        world.explain("token", f"{token}\n"),
        world.explain("cookie", token),
        world.explain("cookie", f"Cookie: theme=dark; auth_token={token}"),
    )

    assert as_token.steps["credential"][1].startswith("bearer, ")
    assert as_value.steps == as_header.steps | {"claims": as_value.steps["claims"]}
    assert [as_value.steps[name][0] for name in ("cross-site", "body", "limits")] == ["-", "-", "-"]
    assert {said.code for said in (as_token, as_value, as_header)} == {0}


def test_no_secret_and_no_claim_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is refused, and where: no part of the token, no name, address or subject, no other cookie's value."""
    world = World(tmp_path, capsys, issuers=OTHER.format(keys=tmp_path / "jwks.json"), routes=RULES)
    personal: dict[str, Any] = {
        "sub": "mark-subject",
        "name": "mark-name",
        "email": "mark@mail",
        "plan": "mark-plan",
        "roles": ["x"],
    }
    settings = use_key_files(load_settings(world.settings), {"main": world.keys})
    said = []
    for _, token in tokens(world.issuer):
        request = world.request(f"Cookie: auth_token={token}; sid=mark-cookie", f"Origin: {ORIGIN}")
        explain(settings, read_given("request", request, settings, None))
        said.append((token, Explained(1, *capsys.readouterr())))
    marked = world.issuer.token("mark-subject", **personal)
    said.append((marked, world.explain("cookie", f"auth_token={marked}; sid=mark-cookie")))

    for token, one in said:
        shown = one.out + one.err
        assert "mark" not in shown
        assert not any(part in shown for part in token.split(".") if len(part) > 8)


def test_a_token_of_last_night(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--at judges as of the time in the log: by now it has expired, and then it was refused for something else."""
    world = World(tmp_path, capsys)
    night = 1_790_000_000
    token = world.issuer.token(aud="shop", iat=night, exp=night + 600)
    then = datetime.fromtimestamp(night + 60, UTC).isoformat()

    assert world.explain("token", token).steps["claims"][1].startswith("aud ['shop']")
    assert world.explain("token", world.issuer.token(iat=night, exp=night + 600), "--at", then).verdict == "accepted"
    assert world.explain("token", world.issuer.token(), "--at", then).verdict == "token_invalid"


def test_keys_that_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said against the token; the fix names the setting and the way to do without."""
    world = World(tmp_path, capsys)
    path = tmp_path / "token"
    path.write_text(world.issuer.token())
    said = world.run("--token-file", str(path))

    assert (said.code, said.verdict, said.steps["key"][0]) == (1, "keys_unavailable", "FAIL")
    assert "--jwks NAME=FILE" in said.change
    assert "issuers.main's keys" in said.change


def test_a_signed_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Judged by its own signer, as of the time asked for."""
    secret = "a-secret-of-at-least-32-characters"
    files = f"""
[routes.files]
path = "/files/"
kind = "opaque"
prefix = true
methods = ["GET"]
credential = "signed_url"
backend = "support"
[signed_urls]
keys = ["{secret}"]
"""
    world = World(tmp_path, capsys, routes=files)
    signer = UrlSigner(keys=[secret], max_minutes=60, clock=lambda: 1_790_000_000.0)
    permission = SignedObject(
        issuer=world.issuer.issuer, subject="alice", method="GET", path="/files/a.png", minutes=10
    )
    request = world.request(
        "Accept: */*", method="GET", target=f"/files/a.png?signature={signer.sign(permission)}", body=b""
    )
    late, then = (world.explain("request", request, *more) for more in ((), ("--at", "2026-09-21T14:15:00")))

    assert (late.verdict, "fresh URL" in late.change) == ("token_expired", True)
    assert (then.verdict, then.steps["body"][1]) == ("accepted", "passed through unread, 0 bytes")
    assert "signature=" not in late.out + then.out
