"""Problems that no single value shows, of the kinds of routes."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import SettingsError, load_settings
from tests.gateway.settings.files import SMALLEST
from tests.gateway.settings.files import problems as problems_of

BASE = """
[issuers.main]
issuer = "https://login.test"
jwks_url = "https://login.test/jwks"
audiences = ["chat"]
[backends.files]
url = "http://127.0.0.1:1/store"
[routes.files]
backend = "files"
"""
KEYS = '[signed_urls]\nkeys = ["a-secret-of-at-least-32-characters"]\n'


def problems(folder: Path, route: str, before: str = "") -> list[str]:
    path = folder / "gateway.toml"
    path.write_text(before + BASE + route)
    try:
        load_settings(path)
    except SettingsError as exc:
        return exc.problems
    return []


@pytest.mark.parametrize(
    ("route", "before"),
    [
        ('path = "/a"', ""),
        ('path = "/a"\nkind = "opaque"\nmethods = ["GET"]', ""),
        ('path = "/a/"\nkind = "opaque"\nmethods = ["GET"]\nprefix = true', ""),
        ('path = "/a/"\nkind = "opaque"\nmethods = ["GET"]\nprefix = true\ncredential = "signed_url"', KEYS),
        ('path = "/a"\n[routes.files.rules."threads.delete"]\nroles = ["admin"]', ""),
    ],
)
def test_what_fits_together_is_accepted(tmp_path: Path, route: str, before: str) -> None:
    """A route of each kind."""
    assert problems(tmp_path, route, before) == []


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ('path = "/a"\nprefix = true', 'routes.files.prefix: is for kind = "opaque"; remove it'),
        ('path = "/a"\nmethods = ["GET"]', 'routes.files.methods: is for kind = "opaque"; remove it'),
        (
            'path = "/a"\ncredential = "signed_url"',
            'routes.files.credential: signed_url is for kind = "opaque"; ChatKit requests carry a token',
        ),
        (
            'path = "/a"\nkind = "opaque"',
            'routes.files.methods: an opaque route must list them, such as ["GET", "HEAD"]',
        ),
        (
            'path = "/a"\nkind = "opaque"\nmethods = ["GET"]\nprefix = true',
            "routes.files.path: /a must end with / if, and only if, prefix = true",
        ),
        (
            'path = "/a/"\nkind = "opaque"\nmethods = ["GET"]',
            "routes.files.path: /a/ must end with / if, and only if, prefix = true",
        ),
        (
            'path = "/a"\nkind = "opaque"\nmethods = ["GET"]\noperations = ["threads.list"]',
            "routes.files.operations, rules: an opaque route has no ChatKit operations; use methods and require",
        ),
        (
            'path = "/a"\nkind = "opaque"\nmethods = ["GET"]\ncredential = "signed_url"',
            "routes.files.credential: signed_url needs [signed_urls] keys; set them, the same as at the backend",
        ),
        (
            'path = "/a"\nkind = "opaque"\nmethods = ["GET"]\ncredential = "signed_url"\nrequire = { roles = ["a"] }',
            "routes.files.require: a signed URL names an owner and nothing else; let the backend decide whom it signs "
            "for",
        ),
        (
            'path = "/a"\nbearer = false',
            "routes.files: takes neither a cookie nor a bearer token; set cookie or bearer = true",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_its_fix(tmp_path: Path, route: str, expected: str) -> None:
    """One line each, naming the setting."""
    assert expected in problems(tmp_path, route)


def test_a_short_key_is_refused_and_never_repeated(tmp_path: Path) -> None:
    """A secret stays out of the list of problems."""
    found = problems(tmp_path, 'path = "/a"', '[signed_urls]\nkeys = ["too-short-secret"]\n')

    assert len(found) == 1
    assert found[0].startswith("signed_urls.keys.0: ")
    assert "too-short-secret" not in found[0]


def test_a_name_that_leads_nowhere_is_said_beside_values_that_do_not_fit(tmp_path: Path) -> None:
    """All problems at once: a misspelled setting does not hide a misspelled backend."""
    route = 'path = "/a"\nissuers = ["nobody", 1]\nmax_bodi = 1\n[routes.other]\npath = "/b"\nbackend = "file"'

    assert problems(tmp_path, route) == [
        "routes.files.issuers.1: Input should be a valid string (is 1)",
        "routes.files.max_bodi: unknown setting; check the spelling, or remove it",
        "routes.files.issuers: no [issuers.nobody]; there are main",
        "routes.files.issuers: no [issuers.1]; there are main",
        "routes.other.backend: no [backends.file]; there are files",
    ]


@pytest.mark.parametrize("before", ["routes = 1\n", "routes = { files = 1 }\n"])
def test_no_shape_of_file_breaks_the_list(tmp_path: Path, before: str) -> None:
    """Whatever a table was mistaken for."""
    path = tmp_path / "gateway.toml"
    path.write_text(before + "backends = []\nissuers = {}\n")
    with pytest.raises(SettingsError):
        load_settings(path)


ONE = 'url = "http://127.0.0.1:9000/chatkit"'


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ('urls = ["http://a:1/x", "http://a:2/x", "http://b:1/x"]\nsticky = "thread"', []),
        ('urls = ["http://a", "http://b/"]', []),
        ('urls = ["http://a/x"]\neject_after = 1\neject_for = 0.5', []),
        ("", ["has no address; set exactly one of url, urls"]),
        ("urls = []", ["has no address; set exactly one of url, urls"]),
        (f'{ONE}\nurls = ["http://a/x"]', ["has both; set exactly one of url, urls"]),
        (
            'urls = ["http://a/x", "http://b/y"]',
            ["urls: http://b/y and http://a/x are not replicas of one backend; only host and port may differ"],
        ),
        (
            'urls = ["http://a/x", "https://b/x"]',
            ["urls: https://b/x and http://a/x are not replicas of one backend; only host and port may differ"],
        ),
        ('urls = ["http://a/x", "http://b/x", "http://a:80/x"]', ["urls: http://a:80/x is there twice; remove one"]),
        ('urls = ["http://a/x"]\nsocket = "/run/a"', ["socket: is one place, and urls are several; use url with it"]),
        (f"{ONE}\neject_after = 0", ["eject_after: Input should be greater than or equal to 1 (is 0)"]),
        (f"{ONE}\neject_for = 0", ["eject_for: Input should be greater than 0 (is 0)"]),
        (f'{ONE}\nsticky = "cookie"', ["sticky: Input should be 'none' or 'thread' (is 'cookie')"]),
    ],
)
def test_a_backend_is_at_one_address_or_has_replicas(tmp_path: Path, backend: str, expected: list[str]) -> None:
    """The assertion names one path, which every replica must take for its own."""
    found = problems_of(tmp_path, SMALLEST.replace(ONE, backend))

    assert [
        problem.removeprefix("backends.support.").removeprefix("backends.support: ") for problem in found
    ] == expected


def test_metrics_are_not_where_users_are(tmp_path: Path) -> None:
    """Two listeners cannot share a port, and the page is for nobody who chats."""
    server = "[server]\nport = 9000\n[metrics]\nport = {port}\n"

    assert problems(tmp_path, 'path = "/a"', server.format(port=9001)) == []
    assert problems(tmp_path, 'path = "/a"', server.format(port=9000)) == [
        "metrics.port: 9000 is also server.port; metrics have a listener of their own"
    ]


def test_a_collector_without_the_extra_is_said_at_once(tmp_path: Path) -> None:
    """Not when the first span is made."""
    path = tmp_path / "gateway.toml"
    path.write_text(f'[tracing]\nendpoint = "http://collector:4318/v1/traces"\n{BASE}path = "/a"\n')
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from pathlib import Path\n"
        "from gateway.settings import SettingsError, load_settings\n"
        "try: load_settings(Path(sys.argv[1]))\n"
        "except SettingsError as exc: print(exc)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    assert child.stdout == ("tracing.endpoint: OpenTelemetry is not installed; pip install chatkit-gateway[tracing]\n")
