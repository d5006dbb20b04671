"""Who can sign in, and what their tokens say."""

from gateway.demo.people import PEOPLE, token_claims


def test_a_token_says_who_for_whom_and_for_how_long() -> None:
    """All the claims the gateway maps, and an hour to live."""
    claims = token_claims(PEOPLE["carol"], issuer="http://127.0.0.1:8081", now=1000)

    assert claims == {
        "iss": "http://127.0.0.1:8081",
        "aud": "chat",
        "sub": "carol",
        "name": "Carol Admin",
        "email": "carol@example.test",
        "roles": ["user", "admin"],
        "iat": 1000,
        "exp": 4600,
    }
