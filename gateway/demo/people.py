"""Who can sign in at the development issuer, and what their tokens say.

Rules: a fixed table, made-up people, no passwords. Knows nothing of keys or of HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUDIENCE = "chat"
# Seconds. An hour, as most identity providers have it: long enough to look around, short enough to see an end.
TOKEN_LIFETIME = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One demo user; ``id`` becomes the token's `sub`."""

    id: str
    name: str
    roles: tuple[str, ...]

    @property
    def email(self) -> str:
        return f"{self.id}@example.test"


PEOPLE: Mapping[str, Person] = {
    person.id: person
    for person in (
        Person(id="alice", name="Alice Example", roles=("user",)),
        Person(id="bob", name="Bob Sample", roles=("user",)),
        Person(id="carol", name="Carol Admin", roles=("user", "admin")),
    )
}


def token_claims(person: Person, *, issuer: str, now: int, lifetime: int = TOKEN_LIFETIME) -> dict[str, Any]:
    """The claims of a token for ``person``, issued at ``now`` (Unix seconds) and good for ``lifetime`` seconds."""
    return {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": person.id,
        "name": person.name,
        "email": person.email,
        "roles": list(person.roles),
        "iat": now,
        "exp": now + lifetime,
    }
