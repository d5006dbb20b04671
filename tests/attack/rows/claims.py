"""What tokens claim: issuer, audience, times, people. Leeway is 30 s, as by default."""

import json
import time
from typing import Any

from tests.attack.judge import Arrival
from tests.attack.marks import SUBJECT
from tests.attack.processes import run_once
from tests.attack.requests import bearer, raw_token
from tests.attack.row import Attack, Refused, Row, Served, Trial
from tests.attack.rows.tokens import Token, accepted, refused
from tests.attack.wire import Answer, exchange
from tests.attack.world import World

EXPIRED = Refused(status=401, code="token_expired")
LEEWAY = 30


def _claim(**changes: Any) -> Token:
    return lambda world: world.token(**changes)


def _in(name: str, seconds: float) -> Token:
    """A time claim so many seconds from now, to the millisecond."""

    def token(world: World) -> str:
        changes: dict[str, Any] = {name: time.time() + seconds}
        return world.token(**changes)

    return token


def _exactly(**texts: str) -> Token:
    """Claims with JSON values that Python would not write."""

    def token(world: World) -> str:
        claims = {name: value for name, value in world.claims().items() if name not in texts}
        text = json.dumps(claims)[:-1] + "".join(f',"{name}":{value}' for name, value in texts.items()) + "}"
        return raw_token(b'{"alg":"RS256","kid":"k1"}', text.encode(), world.key())

    return token


def _null(name: str) -> Token:
    return _exactly(**{name: "null"})


def _leeway_of_61(world: World) -> str:
    path = world.folder / "leeway.toml"
    path.write_text((world.folder / "fading.toml").read_text().replace("cooldown = 0.5", "leeway = 61"))
    done = run_once("serve", "--settings", str(path))
    assert done.returncode == 2, f"exit code {done.returncode}"
    assert "leeway" in done.stdout + done.stderr
    return "exit code 2"


def _expires_in_the_cache(world: World) -> str:
    token = world.token(exp=time.time() - LEEWAY + 1.0)
    statuses = []
    for _ in range(2):
        statuses.append(exchange(world.services["gateway"].port, bearer(token)).answers[0].status)
        time.sleep(1.1 if len(statuses) == 1 else 0)
    assert statuses == [200, 401], f"statuses {statuses}"
    return "200, then 401"


def _person(name: str, value: Any) -> Row:
    """A claim that may be left out or sent on, and may never split anything."""

    def check(world: World, arrival: Arrival, answer: Answer) -> None:
        user = arrival.json()["metadata"]["userInfo"]
        assert user[name] in (None, value, []), f"{name} became {user[name]!r}"
        assert user["id"] == SUBJECT
        assert "x-evil" not in [header for header, _ in arrival.headers]

    return Row(
        threat="claim values",
        name=f"{name} {str(value)[:24]!r} ({len(value)})",
        attack=lambda world: bearer(world.token(**{name: value})),
        expected=Served(check=check, note="kept or left out"),
    )


def _subject(name: str, value: str, **options: Any) -> Row:
    return refused("claim values", f"subject {name}", lambda world: world.token(subject=value), **options)


EXP_TEXTS = {
    "a string": '"9999999999"',
    "1e300": "1e300",
    "1e999": "1e999",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "negative": "-1",
    "true": "true",
    "null": "null",
    "a list": "[9999999999]",
    "400 digits": "9" * 400,
}

ROWS: list[Attack] = [
    refused("iss exact", "iss with a slash more", _claim(iss="https://main.test/")),
    refused("iss exact", "iss a letter less", _claim(iss="https://main.tes")),
    refused("iss exact", "iss with more behind it", _claim(iss="https://main.test.evil.io")),
    refused("iss exact", "iss in upper case", _claim(iss="https://MAIN.test"), own=True),
    refused("iss exact", "iss as a list", _claim(iss=["https://main.test"])),
    refused("iss exact", "iss missing", _claim(iss=None)),
    refused("iss exact", "iss with a line break", _claim(iss="https://main.test\n"), own=True),
    refused("aud", "aud of somebody else", _claim(aud="billing")),
    refused("aud", "aud as a number", _claim(aud=1)),
    refused("aud", "aud missing", _claim(aud=None)),
    refused("aud", "aud an empty list", _claim(aud=[]), own=True),
    refused("aud", "ours as a part of aud", _claim(aud="chatty"), own=True),
    refused("aud", "ours among several in one string", _claim(aud="chat billing"), own=True),
    refused("aud", "aud an object with our name", _claim(aud={"chat": True}), own=True),
    refused("aud", "a list with ours and a number", _claim(aud=["chat", 1]), own=True),
    accepted("aud", "a list that contains ours", _claim(aud=["billing", "chat"])),
    *(refused("exp", f"exp {name}", _exactly(exp=text)) for name, text in EXP_TEXTS.items()),
    refused("exp", "exp missing", _claim(exp=None)),
    refused("leeway", "exp just outside the leeway", _in("exp", -LEEWAY - 0.01), EXPIRED),
    accepted("leeway", "exp just inside the leeway", _in("exp", -LEEWAY + 1.5)),
    refused("leeway", "nbf just outside the leeway", _in("nbf", LEEWAY + 1.5)),
    accepted("leeway", "nbf just inside the leeway", _in("nbf", LEEWAY - 0.01)),
    refused("nbf and iat", "nbf in an hour", _in("nbf", 3600)),
    refused("nbf and iat", "iat in an hour", _in("iat", 3600)),
    refused("nbf and iat", "iat a string", _claim(iat="now"), own=True),
    refused("nbf and iat", "nbf null", _null("nbf"), own=True),
    accepted("nbf and iat", "iat with a fraction", _in("iat", -0.5), own=True),
    Trial(threat="leeway", name="a leeway of 61 s in the settings", wanted="exit code 2", trial=_leeway_of_61),
    Trial(
        threat="cached token", name="a cached token after its exp", wanted="200, then 401", trial=_expires_in_the_cache
    ),
    _person("name", "Ann\r\nX-Evil: mark"),
    _person("name", "nul\0name"),
    _person("name", "\u674e\u96f7 \u0416\u0443\u0440\u0430 \U0001f600"),
    _person("name", "n" * 10_240),
    _person("email", "a@b.test\nx-evil: 1"),
    _person("roles", ["user\r\nx-evil: 1"]),
    _subject("with CR LF", "mark-sub\r\nx-evil: 1"),
    _subject("with NUL", "mark-sub\0root"),
    _subject("of 10 KB", "mark-" * 2048),
    _subject("empty", "", own=True),
    _subject("with a lone surrogate", "mark-\ud800", own=True),
    _subject("written right to left", "mark-\u202eroot", own=True),
    accepted("claim values", "subject in Cyrillic", _claim(subject="mark-\u0416\u0443\u0440\u0430")),
    refused("claim values", "subject a number", _exactly(sub="1"), own=True),
    refused("claim values", "subject missing", _claim(sub=None), own=True),
    refused("tenant", "no tenant where owners are told apart by it", lambda world: world.token("tenants"), own=True),
    refused("tenant", "tenant a list", lambda world: world.token("tenants", tid=["a"]), own=True),
    accepted("tenant", "the tenant is there", lambda world: world.token("tenants", tid="mark-tenant"), own=True),
    Row(
        threat="issuers of a route",
        name="a good issuer on a route that names another",
        attack=lambda world: bearer(world.token(), target="/narrow"),
        expected=Refused(status=401, code="token_invalid"),
        own=True,
    ),
]
