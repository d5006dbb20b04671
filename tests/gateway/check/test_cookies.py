"""Will browsers send this cookie?"""

from pathlib import Path

import pytest

from gateway.check import check
from gateway.check.cookies import judge_cookies, read_cookies
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write

TOKEN = "eyJmark.eyJmark.mark"  # of no issuer
GOOD = f"auth_token={TOKEN}; HttpOnly; Secure; SameSite=Lax; Path=/; Domain=example.com"


def judged(folder: Path, line: str, *, text: str = SMALLEST) -> list[tuple[str, str]]:
    """Outcome and text of each finding."""
    settings = load_settings(write(folder, text))
    return [(found.outcome, found.text) for found in judge_cookies(read_cookies(line), settings)]


def test_a_cookie_as_the_readme_has_it(tmp_path: Path) -> None:
    """Nothing to say against it."""
    assert judged(tmp_path, GOOD) == [("ok", "")]


@pytest.mark.parametrize(
    ("old", "new", "outcome", "said"),
    [
        (" Secure;", "", "failure", "no Secure"),
        (" HttpOnly;", "", "warning", "no HttpOnly"),
        ("SameSite=Lax", "SameSite=None", "warning", "SameSite=Lax does"),
        ("Domain=example.com", "Domain=app.example.com", "failure", "does not cover chat.example.com"),
        ("Domain=example.com", "Domain=com", "failure", "shared by strangers"),
        (" Domain=example.com", "", "warning", "has to be chat.example.com"),
        ("Path=/;", "Path=/app;", "failure", "Path=/app does not cover /chatkit"),
        (TOKEN, "a.b.c.d.e", "failure", "credential_encrypted"),
        (TOKEN, "opaque-session", "failure", "token_invalid"),
        (TOKEN, f'"{TOKEN}"', "failure", "token_invalid"),
        (TOKEN, f"a.{'b' * 5000}.c", "failure", "browsers drop cookies over 4096"),
        ("auth_token", "other", "failure", "no Set-Cookie for auth_token; set are: other"),
    ],
)
def test_one_mistake(tmp_path: Path, old: str, new: str, outcome: str, said: str) -> None:
    """Each with its fix, and no value."""
    assert old in GOOD
    found = judged(tmp_path, GOOD.replace(old, new))

    assert [one for one, _ in found] == [outcome]
    assert said in found[0][1]
    assert "mark" not in found[0][1]


@pytest.mark.parametrize(
    ("same_site", "secure", "outcomes"),
    [
        ("SameSite=Lax", "Secure", ["failure"]),
        ("SameSite=Strict", "Secure", ["failure"]),
        ("", "Secure", ["failure"]),
        ("SameSite=None", "Secure", ["ok"]),
        ("SameSite=None", "", ["failure", "failure"]),
    ],
)
def test_a_page_of_another_site(tmp_path: Path, same_site: str, secure: str, outcomes: list[str]) -> None:
    """Only SameSite=None with Secure is sent by it, and what has none counts as Lax."""
    text = SMALLEST.replace("https://app.example.com", "https://elsewhere.org")
    line = f"auth_token={TOKEN}; HttpOnly; Path=/; Domain=example.com; {same_site}; {secure}"

    assert [outcome for outcome, _ in judged(tmp_path, line, text=text)] == outcomes


@pytest.mark.parametrize(
    ("attributes", "outcome"),
    [("Path=/", "ok"), ("", "failure"), ("Path=/; Domain=chat.example.com", "failure"), ("Path=/x", "failure")],
)
def test_a_host_cookie(tmp_path: Path, attributes: str, outcome: str) -> None:
    """It needs Path=/ and no Domain, or it is dropped."""
    text = SMALLEST.replace("auth_token", "__Host-auth").replace('"https://app.example.com"', "")
    found = judged(tmp_path, f"__Host-auth={TOKEN}; Secure; HttpOnly; SameSite=Lax; {attributes}", text=text)

    assert found[0][0] == outcome


def test_on_this_machine(tmp_path: Path) -> None:
    """Browsers trust http on localhost: Secure or not, both are sent."""
    text = SMALLEST.replace("https://chat.example.com", "http://localhost:8080")
    text = text.replace("https://app.example.com", "http://localhost:3000")
    plain = f"auth_token={TOKEN}; HttpOnly; SameSite=Lax; Path=/"

    assert judged(tmp_path, plain, text=text) == judged(tmp_path, f"{plain}; Secure", text=text) == [("ok", "")]


def test_a_whole_captured_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its other headers and cookies, those that are removed and the parts of a split one."""
    answer = f"""HTTP/2 303
location: /
set-cookie: sid=mark; HttpOnly
Set-Cookie: auth_token=; Max-Age=0
set-cookie: {GOOD.replace("auth_token", "auth_token.0")}
set-cookie: {GOOD.replace("auth_token", "auth_token.1").replace(TOKEN, "rest")}

<html>"""
    settings = load_settings(write(tmp_path, SMALLEST))
    code = check(settings, set_cookie=answer, offline=True)

    assert code == 0
    assert "ok    routes.support.cookie: Set-Cookie of auth_token" in capsys.readouterr().out.splitlines()
    assert check(settings, set_cookie="HTTP/1.1 200 OK\n\nhello", offline=True) == 1
    assert "capture the login's answer, with curl -i say" in capsys.readouterr().out
