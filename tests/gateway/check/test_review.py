"""What is wrong with settings that are valid."""

from pathlib import Path

import pytest

from gateway.check.findings import Finding
from gateway.check.review import review
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, problems, write

PUBLIC = 'public_url = "https://chat.example.com"'
ORIGINS = 'allowed_origins = ["https://app.example.com"]'
KEYS = 'jwks_url = "https://login.example.com/.well-known/jwks.json"'
ISSUER = 'issuer = "https://login.example.com"'


def findings(folder: Path, text: str) -> list[Finding]:
    """Without the word about signing keys, which the smallest file has none of."""
    return [found for found in review(load_settings(write(folder, text))) if found.what != "trust.signing_keys"]


def test_the_smallest_file_is_without_reproach(tmp_path: Path) -> None:
    """But for one thing: its signing key lives as long as the process."""
    found = list(review(load_settings(write(tmp_path, SMALLEST))))

    assert [(one.outcome, one.what) for one in found] == [("warning", "trust.signing_keys")]
    assert findings(tmp_path, SMALLEST) == []


@pytest.mark.parametrize(
    ("old", "new", "outcome", "what", "said"),
    [
        (KEYS, KEYS.replace("https", "http"), "failure", "issuers.main.jwks_url", "can hand out keys and be anybody"),
        (KEYS, 'jwks_url = "http://keycloak:8080/keys"', "warning", "issuers.main.jwks_url", "use https, or jwks_file"),
        (
            KEYS,
            'discovery_url = "http://id.example.com/x"',
            "failure",
            "issuers.main.discovery_url",
            "http://id.example.com/x",
        ),
        (ISSUER, ISSUER.replace("https", "http"), "warning", "issuers.main.issuer", "a login by http, in production"),
        ('["chat"]', '["*"]', "failure", "issuers.main.audiences", "no wildcard"),
        ('["chat"]', '["chat "]', "failure", "issuers.main.audiences", "to the letter"),
        ('["chat"]', '["account"]', "warning", "issuers.main.audiences", "every token of the realm"),
        ('["chat"]', '["chat"]\nkeep = 60', "warning", "issuers.main.keep", "less than refresh (300 s)"),
        (PUBLIC, 'public_url = "http://chat.example.com"', "warning", "server.public_url", "serve by https"),
        (
            f'host = "127.0.0.1"\nport = 8080\n{PUBLIC}',
            'host = "0.0.0.0"',
            "failure",
            "server.public_url",
            "which no browser sends as its Origin",
        ),
        ("port = 8080", "port = 8080\nkeep_alive = 20", "warning", "server.keep_alive", "a 502 now and then"),
        (
            "port = 8080",
            'port = 8080\ntrusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"]',
            "failure",
            "server.trusted_proxies",
            "0.0.0.0/0 is everybody",
        ),
        (
            '9000/chatkit"',
            '9000/chatkit"\nmax_connections = 50',
            "warning",
            "backends.support.max_connections",
            "50 to each of 1 replica(s)",
        ),
    ],
)
def test_one_mistake(tmp_path: Path, old: str, new: str, outcome: str | None, what: str, said: str) -> None:
    """Named by its setting, with its value and what to write instead."""
    assert old in SMALLEST
    found = findings(tmp_path, SMALLEST.replace(old, new))

    assert [(one.outcome, one.what) for one in found if one.what == what] == ([(outcome, what)] if outcome else [])
    assert all(said in one.text for one in found if one.what == what)


@pytest.mark.parametrize(
    ("backend", "route", "what"),
    [
        ("first_byte_timeout = 120\ntotal_timeout = 60\nidle_timeout = 30", "", "backends.support.first_byte_timeout"),
        ("idle_timeout = 4000", "", "backends.support.idle_timeout"),
        ("connect_timeout = 30", "", "backends.support.connect_timeout"),
        ("idle_timeout = 10", "", "routes.support.heartbeat"),
        ("first_byte_timeout = 15", "", "routes.support.heartbeat"),
        ("first_byte_timeout = 15", "heartbeat = 5", None),
        ("total_timeout = 20\nidle_timeout = 16\nfirst_byte_timeout = 16", "", "routes.support.body_timeout"),
    ],
)
def test_time_outs_that_undercut_each_other(tmp_path: Path, backend: str, route: str, what: str | None) -> None:
    """One that can never be reached is not what its writer meant; both are named."""
    text = SMALLEST.replace('9000/chatkit"', f'9000/chatkit"\n{backend}') + route
    found = findings(tmp_path, text)

    assert [one.what for one in found] == ([what] if what else [])
    assert all(" s" in one.text and one.outcome == "warning" for one in found)


@pytest.mark.parametrize(
    ("public_url", "origin", "outcome"),
    [
        ("https://chat.example.com", "https://app.example.com", None),
        ("https://chat.example.com", "https://example.com", None),
        ("https://chat.example.com:8443", "https://app.example.com", None),
        ("https://chat.example.com", "http://app.example.com", "warning"),
        ("https://chat.example.com", "https://example.org", "warning"),
        ("https://one.co.uk", "https://other.co.uk", "warning"),
        ("https://chat.vercel.app", "https://page.vercel.app", "warning"),
        ("http://chat.example.com", "http://page.example.org", "failure"),
        ("http://127.0.0.1:8080", "http://localhost:3000", "warning"),
        ("http://localhost:8080", "http://localhost:3000", None),
    ],
)
def test_pages_whose_cookie_does_not_come(tmp_path: Path, public_url: str, origin: str, outcome: str | None) -> None:
    """By the registrable domain and the scheme, as browsers count sites; a public suffix is nobody's site."""
    text = SMALLEST.replace(PUBLIC, f'public_url = "{public_url}"').replace("https://app.example.com", origin)
    found = [one for one in findings(tmp_path, text) if one.what == "routes.support.allowed_origins"]

    assert [one.outcome for one in found] == ([outcome] if outcome else [])
    assert all(origin in one.text or "localhost" in one.text for one in found)


def test_pages_do_not_matter_to_a_bearer_token(tmp_path: Path) -> None:
    """Whoever sends no cookie need not be of one site."""
    text = SMALLEST.replace('cookie = "auth_token"\n', "").replace("https://app.example.com", "https://elsewhere.org")

    assert findings(tmp_path, text) == []


def test_a_prefixed_cookie_by_http(tmp_path: Path) -> None:
    """Browsers never keep it."""
    text = SMALLEST.replace(PUBLIC, 'public_url = "http://chat.example.com"').replace("auth_token", "__Host-auth")
    found = findings(tmp_path, text.replace(ORIGINS, ""))

    assert ("failure", "routes.support.cookie") in [(one.outcome, one.what) for one in found]


def test_a_backend_far_away_in_the_clear(tmp_path: Path) -> None:
    """A public name by http carries tokens over the net; a private one is the cluster's own."""
    far = SMALLEST.replace("http://127.0.0.1:9000", "http://agent.example.com")
    near = SMALLEST.replace("http://127.0.0.1:9000", "http://agent.chat.svc:9000")

    assert [one.what for one in findings(tmp_path, far)] == ["backends.support.url"]
    assert findings(tmp_path, near) == []


def test_mistakes_that_no_file_is_accepted_with(tmp_path: Path) -> None:
    """An origin with a slash and no audience at all are found before anything is looked over, each with its fix."""
    slash = problems(tmp_path, SMALLEST.replace("https://app.example.com", "https://app.example.com/"))
    silent = problems(tmp_path, SMALLEST.replace('audiences = ["chat"]\n', ""))

    assert "did you mean https://app.example.com?" in slash[0]
    assert len(silent) == len(slash) == 1
    assert silent[0].startswith("issuers.main.audiences: is missing; without it every token of this issuer would open")
    assert "list the aud of yours, such as the client id" in silent[0]
