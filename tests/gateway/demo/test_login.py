"""The login page, and where it may send people back to."""

import pytest

from gateway.demo.login import is_return_allowed, login_policy, render_login
from gateway.demo.people import PEOPLE

GATEWAY = "http://127.0.0.1:8080"


@pytest.mark.parametrize("return_to", [GATEWAY, f"{GATEWAY}/", f"{GATEWAY}/orders?page=2#top"])
def test_people_return_to_the_gateway(return_to: str) -> None:
    """Any URL at the gateway's origin is a place to return to."""
    assert is_return_allowed(return_to, GATEWAY)


@pytest.mark.parametrize(
    "return_to",
    [
        "",
        "/",
        "//evil.test/",
        "https://evil.test/",
        "https://127.0.0.1:8080/",
        "http://127.0.0.1:80801/",
        "http://127.0.0.1:8080.evil.test/",
        "http://127.0.0.1:8080@evil.test/",
        "http://127.0.0.1:8080\\@evil.test/",
        " http://127.0.0.1:8080/",
        "javascript:alert(1)//http://127.0.0.1:8080/",
    ],
)
def test_nobody_is_sent_anywhere_else(return_to: str) -> None:
    """No open redirect: look-alikes, user info and other schemes are not the gateway."""
    assert not is_return_allowed(return_to, GATEWAY)


def test_the_page_escapes_what_the_request_said() -> None:
    """A return address cannot break out of its attribute."""
    page = render_login(PEOPLE.values(), return_to='/"><script>', algorithms=["RS256"], chosen="RS256")

    assert "<script>" not in page
    assert 'value="/&quot;&gt;&lt;script&gt;"' in page


def test_the_page_offers_everybody_and_says_what_it_is_for() -> None:
    """One button per person, the chosen algorithm first, and a warning."""
    page = render_login(PEOPLE.values(), return_to="/", algorithms=["RS256", "ES256"], chosen="ES256")

    assert [f'name="user" value="{name}"' in page for name in PEOPLE] == [True, True, True]
    assert "<option selected>ES256</option>" in page
    assert "development only" in page


def test_the_policy_allows_the_form_its_redirect_and_nothing_unsafe() -> None:
    """The style is allowed by its hash; scripts not at all."""
    policy = login_policy(GATEWAY)

    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert f"form-action 'self' {GATEWAY};" in policy
    assert "unsafe" not in policy
