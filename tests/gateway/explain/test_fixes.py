"""From a refusal to the one sentence of what to change."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway import errors
from gateway.errors import ClientError, Flaw, SignInEnded
from gateway.explain.fixes import FIXES, FLAWS
from tests.gateway.explain.world import ORIGIN, World


def test_every_refusal_has_a_fix() -> None:
    """Every error that a client can be refused with, and everything that can be wrong with a token."""
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ClientError) and "code" in vars(kind)
    }
    # A stream's own end; and by `about`.
    codes -= {SignInEnded.code, "token_invalid"}

    assert set(FIXES) == codes | {"keys_unavailable"}
    assert set(FLAWS) == set(get_args(Flaw))


@pytest.mark.parametrize(
    ("headers", "change"),
    [
        (["Cookie: sid=1; other=2"], "routes.support.cookie to the cookie in which the login keeps its token"),
        (["Cookie: sid=1; other=2"], "(this request has other, sid)"),
        ([], 'credentials: "include"'),
        (["Authorization: Bearer {token}"], "Set routes.support.bearer = true"),
        (["Cookie: auth_token={token}", "Origin: https://evil.example"], "add it to routes.support.allowed_origins"),
        (["Cookie: auth_token={token}"], "a program should send its token as Authorization"),
        (["Cookie: auth_token=a.b.c.d.e", f"Origin: {ORIGIN}"], "set routes.support.cookie to that"),
        (['Cookie: auth_token="{token}"', f"Origin: {ORIGIN}"], "no quotes"),
    ],
)
def test_what_the_browser_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], headers: list[str], change: str
) -> None:
    """The sentence names the setting, and what came instead of what was looked for."""
    world = World(tmp_path, capsys, routes="bearer = false")
    given = [header.format(token=world.issuer.token()) for header in headers] or ["Accept: */*"]
    said = world.explain("request", world.request(*given, "Content-Type: application/json"))

    assert change in said.change


@pytest.mark.parametrize(
    ("claims", "change"),
    [
        ({"iss": "https://login.example.com/"}, "Write issuers.main.issuer to the letter"),
        ({"iss": "https://staging.example.com"}, "[issuers] table"),
        ({"aud": "account"}, "add it to issuers.main.audiences"),
        ({"roles": None, "realm_access": {"roles": ["member"]}}, "issuers.main.claims.roles = 'realm_access.roles'"),
        ({"roles": None, "groups": ["member"]}, "Set issuers.main.claims.roles = 'groups'"),
        ({"roles": ["member"], "scope": None, "scp": ["chat"]}, "Set issuers.main.claims.scopes = 'scp'"),
        ({"roles": ["guest"]}, "ask for less in routes.support.require.scopes"),
        ({"roles": ["guest"], "scope": "chat"}, "ask for less in routes.support.require.roles"),
    ],
)
def test_what_the_token_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], claims: dict[str, Any], change: str
) -> None:
    """Where another mapping of claims would do, it is that; a mapping under which the rule fails too is not named."""
    world = World(tmp_path, capsys, routes='[routes.support.require]\nscopes = ["chat"]\nroles = ["member"]')
    given = {"scope": "chat" if "roles" in claims and claims["roles"] is None else None, **claims}
    said = world.explain("token", world.issuer.token(**given))

    assert change in said.change


def test_a_key_that_was_left_out_of_the_jwks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The unknown key may be one that was there and could not be used: then that is the reason."""
    world = World(tmp_path, capsys)
    good, unfit = world.issuer.jwks()["keys"][0], {**world.issuer.jwks()["keys"][0], "kid": "k2", "use": "enc"}
    world.keys.write_text(f'{{"keys": [{json.dumps(good)}, {json.dumps(unfit)}]}}')
    said = world.explain("token", world.issuer.token(header={"kid": "k2"}))

    assert "key 1 (kid 'k2'): use is 'enc', not sig" in said.change
