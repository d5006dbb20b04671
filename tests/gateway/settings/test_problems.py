"""What is wrong with settings that no single value shows."""

from pathlib import Path

import pytest

from tests.gateway.settings.files import SMALLEST, problems

ISSUER = '[issuers.{}]\nissuer = "https://{}"\naudiences = ["chat"]\n'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "jwks_url = ",
            'discovery_url = "https://x"\njwks_url = ',
            ["issuers.main: has jwks_url and discovery_url; set exactly one of jwks_url, discovery_url, jwks_file"],
            id="two places for keys",
        ),
        pytest.param(
            'jwks_url = "https://login.example.com/.well-known/jwks.json"',
            "",
            ["issuers.main: has no place for its keys; set exactly one of jwks_url, discovery_url, jwks_file"],
            id="no place for keys",
        ),
        pytest.param(
            "[backends.support]",
            ISSUER.format("other", "login.example.com") + 'jwks_url = "https://x"\n[backends.support]',
            ["issuers.other.issuer: 'https://login.example.com' is also issuers.main; remove one"],
            id="two issuers, one iss",
        ),
        pytest.param(
            'backend = "support"',
            'backend = "suport"\nissuers = ["main", "mian"]',
            [
                "routes.support.backend: no [backends.suport]; there are support",
                "routes.support.issuers: no [issuers.mian]; there are main",
            ],
            id="names that lead nowhere",
        ),
        pytest.param(
            'cookie = "auth_token"',
            "bearer = false",
            ["routes.support: takes neither a cookie nor a bearer token; set cookie or bearer = true"],
            id="no credential",
        ),
        pytest.param(
            "[routes.support]",
            '[routes.first]\npath = "/chatkit"\nbackend = "support"\n[routes.support]',
            ["routes.support.path: /chatkit is also routes.first; change one"],
            id="one path, two routes",
        ),
        pytest.param(
            "[routes.support]",
            'ca_file = "/none.pem"\n[routes.support]',
            ["backends.support.ca_file: no file /none.pem", "backends.support.ca_file: is set, but url is not https"],
            id="ca_file",
        ),
        pytest.param(
            "[issuers.main]",
            '[trust]\nsigning_keys = ["/none.pem"]\n[issuers.main]',
            [
                "trust.signing_keys: no file /none.pem; make one with: "
                "openssl ecparam -name prime256v1 -genkey -noout -out /none.pem"
            ],
            id="signing key",
        ),
    ],
)
def test_each_problem_names_place_and_fix(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    """So that whoever reads it at night can act on it."""
    assert old in SMALLEST
    assert problems(tmp_path, SMALLEST.replace(old, new)) == expected
