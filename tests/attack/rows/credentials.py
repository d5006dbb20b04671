"""More than one credential, or one in an odd place: never "first wins"."""

from tests.attack.requests import ask, bearer, cookie
from tests.attack.row import Attack, Refused, Served, row
from tests.attack.rows.cookies import AMBIGUOUS, INVALID, MISSING, readable, sent

BOTH = "two credentials"


ROWS: list[Attack] = [
    row(
        BOTH,
        "two Authorization headers",
        lambda world: bearer(world.token(), f"Authorization: Bearer {world.token(subject='mark-b')}"),
        AMBIGUOUS,
    ),
    row(
        BOTH,
        "the same Authorization twice",
        lambda world: bearer(world.token(), f"Authorization: Bearer {world.token()}"),
        AMBIGUOUS,
        own=True,
    ),
    row(
        BOTH,
        "Bearer a, Bearer b",
        lambda world: bearer(f"{world.token()}, Bearer {world.token(subject='mark-b')}"),
        AMBIGUOUS,
    ),
    row(BOTH, "Bearer a,b", lambda world: bearer(f"{world.token()},x"), AMBIGUOUS, own=True),
    row(
        BOTH,
        "Basic, then Bearer",
        lambda world: ask("Authorization: Basic eDp5", f"Authorization: Bearer {world.token()}"),
        AMBIGUOUS,
        own=True,
    ),
    sent(BOTH, "two cookies of that name", lambda token: f"auth_token={token}; auth_token=x.y.z", AMBIGUOUS),
    sent(BOTH, "the same cookie twice", lambda token: f"auth_token={token}; auth_token={token}", AMBIGUOUS, own=True),
    row(
        BOTH,
        "two Cookie headers with it",
        lambda world: cookie(world.token(), "Cookie: auth_token=x.y.z"),
        readable(AMBIGUOUS),
    ),
    row(
        BOTH,
        "cookie and bearer of different users",
        lambda world: cookie(world.token(), f"Authorization: Bearer {world.token(subject='mark-b')}"),
        readable(AMBIGUOUS),
    ),
    row(
        BOTH,
        "cookie and bearer, the same token, evil origin",
        lambda world: cookie(token := world.token(), f"Authorization: Bearer {token}", origin="https://evil.io"),
        Refused(status=403, code="cross_site_request"),
        own=True,
    ),
    row(
        BOTH,
        "a bad bearer beside a good cookie",
        lambda world: cookie(world.token(), "Authorization: Bearer x.y.z"),
        readable(AMBIGUOUS),
        own=True,
    ),
    row(BOTH, "bearer in lower case", lambda world: ask(f"authorization: bearer {world.token()}"), Served(), own=True),
    row(BOTH, "Bearer with a tab", lambda world: ask(f"Authorization: Bearer\t{world.token()}"), MISSING, own=True),
    row(BOTH, "Bearer with nothing", lambda world: ask("Authorization: Bearer"), INVALID, own=True),
    row(
        BOTH,
        "bearer where the route takes a cookie",
        lambda world: bearer(world.token(), target="/cookie-only"),
        MISSING,
        own=True,
    ),
    row(
        BOTH,
        "the token in the query",
        lambda world: ask(target=f"/chatkit?access_token={world.token()}"),
        MISSING,
        own=True,
    ),
]
