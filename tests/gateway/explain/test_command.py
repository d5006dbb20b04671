"""`gateway explain` from its arguments."""

import io
import sys
from pathlib import Path

import pytest

from tests.gateway.explain.world import World

SECOND = '[routes.second]\npath = "/second"\nbackend = "support"\nbearer = false\ncookie = "other"'


def test_standard_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret may come through a pipe and touch no disk."""
    world = World(tmp_path, capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(world.issuer.token().encode())))
    said = world.run("--token-file", "-", "--jwks", f"{world.issuer.issuer}={world.keys}")

    assert (said.code, said.verdict) == (0, "accepted")


def test_a_route_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token names none: it is asked for. Where no bearer is taken the token is in the cookie."""
    world = World(tmp_path, capsys, routes=SECOND)
    token = world.issuer.token()
    unnamed, named = world.explain("token", token), world.explain("token", token, "--route", "second")

    assert (unnamed.code, unnamed.out) == (2, "")
    assert unnamed.err == "gateway: for which route? Add --route with one of support, second\n"
    assert named.steps["credential"][1].startswith("cookie 'other'")


def test_a_cookie_file_of_curls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `curl -c` writes it and `gateway chat` reads it: comments are passed over, httpOnly cookies are not."""
    world = World(tmp_path, capsys)
    rows = ["# Netscape HTTP Cookie File", "", "127.0.0.1\tFALSE\t/\tFALSE\t0\ttheme\tdark"]
    rows.append(f"#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tauth_token\t{world.issuer.token()}")
    said = world.explain("cookie", "\n".join(rows) + "\n")

    assert (said.code, said.verdict) == (0, "accepted")


def test_a_capture_from_in_front_of_a_proxy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --route the path is what the proxy would have made of it."""
    world = World(tmp_path, capsys)
    request = world.request(target="/api/chat?x=1")
    as_it_is, rewritten = world.explain("request", request), world.explain("request", request, "--route", "support")

    assert (as_it_is.verdict, rewritten.verdict) == ("route_not_found", "accepted")
    assert "/chatkit (support)" in as_it_is.change


@pytest.mark.parametrize(
    ("kind", "data", "more", "said"),
    [
        ("token", " \n", [], "nothing was given"),
        ("token", "a\nb", [], "one line of ASCII"),
        ("request", "no request", [], "--request-file: no request: give raw HTTP"),
        ("token", "a.b.c", ["--route", "none"], "--route: no route 'none'; there are support"),
        ("token", "a.b.c", ["--jwks", "none=/dev/null"], "--jwks: no file /dev/null"),
        ("token", "a.b.c", ["--jwks", "main"], "--jwks: takes ISSUER=FILE"),
        ("token", "a.b.c", ["--at", "yesterday"], "--at: takes a time as the log has it"),
    ],
)
def test_what_cannot_be_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, data: str, more: list[str], said: str
) -> None:
    """2, with what would do."""
    explained = World(tmp_path, capsys).explain(kind, data, *more)

    assert (explained.code, explained.out) == (2, "")
    assert said in explained.err


@pytest.mark.parametrize("given", ["eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "eyJ" + "x" * 5000])
def test_a_token_as_an_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    """It is refused as the file it is not, and not repeated."""
    said = World(tmp_path, capsys).run("--token-file", given)

    assert said.code == 2
    assert given[:20] not in said.err
    assert "- for standard input, never the secret" in said.err


def test_a_token_in_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody put it there, what is said of the path leaves it out, as the log does."""
    world = World(tmp_path, capsys)
    token = world.issuer.token()
    said = world.explain("request", world.request(target=f"/chat/{token}"))

    assert said.code == 1
    assert "FAIL  route" in said.out
    assert token[:20] not in said.out + said.err
    assert "/chat/[redacted]" in said.out


def test_an_unknown_issuer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key file for nobody is a mistake, not ignored."""
    world = World(tmp_path, capsys)
    said = world.explain("token", world.issuer.token(), "--jwks", f"mian={world.keys}")

    assert said.err == "gateway: --jwks: no issuer 'mian'; there are main\n"
