"""The model's own derived values."""

import pytest

from gateway.settings.model import Settings


@pytest.mark.parametrize(
    ("server", "public_url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"port": 80}, "http://127.0.0.1"),
        ({"host": "::1"}, "http://[::1]:8080"),
        ({"public_url": "https://chat.example.com"}, "https://chat.example.com"),
    ],
)
def test_public_url_is_what_browsers_would_send(server: dict[str, object], public_url: str) -> None:
    """It is compared with `Origin`, to the letter."""
    issuer = {"issuer": "https://a", "jwks_url": "https://a/keys", "audiences": ["chat"]}
    settings = Settings.model_validate(
        {
            "server": server,
            "issuers": {"main": issuer},
            "backends": {"support": {"url": "http://b"}},
            "routes": {"support": {"path": "/chatkit", "backend": "support"}},
        }
    )

    assert settings.public_url == public_url
