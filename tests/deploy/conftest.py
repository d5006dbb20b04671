"""What the deployments under test share: a database, and an issuer as their settings name it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.demo.state import new_signing_key
from tests.support.issuer import Issuer
from tests.support.postgres import postgres_server
from tests.support.servers import serve
from tests.together.world import issuer_app


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a deployment finds: whose users, which secrets.

    Attributes:
        places: What the settings say of the issuer, and where it is here.
    """

    issuer: Issuer
    places: dict[str, str]
    gateway_secrets: dict[str, str]
    backend_secrets: dict[str, str]


@pytest.fixture(scope="session")
def surroundings() -> Iterator[Surroundings]:
    issuer = Issuer(issuer="https://login.example.com")
    with postgres_server() as database, serve(issuer_app(issuer)) as url:
        yield Surroundings(
            issuer=issuer,
            places={"https://login.example.com/.well-known/jwks.json": f"{url}/jwks"},
            gateway_secrets={"signing.pem": new_signing_key()},
            backend_secrets={"agent_backend_database__url": database.url},
        )
