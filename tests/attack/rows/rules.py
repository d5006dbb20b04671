"""Rules: a user who is known may still not; the answer names the rule and nothing of the user."""

from collections.abc import Callable
from typing import Any

from tests.attack.judge import check_refused
from tests.attack.marks import EVIL
from tests.attack.requests import bearer, get
from tests.attack.row import Attack, Served, Trial, row
from tests.attack.wire import exchange
from tests.attack.world import World

GOOD: dict[str, Any] = {"scope": "openid chat", "roles": ["member", "mark-role-7f3a"], "plan": "pro"}
DELETE = b'{"type":"threads.delete","params":{"thread_id":"t"}}'
RULES = "rules"


def _ask(body: bytes | None = None, **claims: Any) -> Callable[[World], bytes]:
    options: dict[str, Any] = {"target": "/ruled"} | ({} if body is None else {"body": body})
    return lambda world: bearer(world.token(**{**GOOD, **claims}), **options)


def _denied(name: str, rule: str, request: Callable[[World], bytes]) -> Trial:
    def trial(world: World) -> str:
        before = len(world.backend.exchanges)
        answer = check_refused(
            exchange(world.services["gateway"].port, request(world)), status=403, code="access_denied"
        )
        assert len(world.backend.exchanges) == before, "a request at the backend"
        assert answer.json()["rule"] == f"routes.ruled.{rule}", answer.json()["rule"]
        return f"403 {rule}"

    return Trial(threat=RULES, name=name, wanted=f"403 {rule}", trial=trial, own=True)


def _session(world: World) -> bytes:
    return get("/session?route=ruled", f"Authorization: Bearer {world.token(scope='openid')}")


ROWS: list[Attack] = [
    row(RULES, "who has everything", _ask(), Served(), own=True),
    row(RULES, "who may delete", _ask(DELETE, roles=["admin"]), Served(), own=True),
    _denied("no scope at all", "require.scopes", _ask(scope=None)),
    _denied("a scope that begins like it", "require.scopes", _ask(scope="chat:read chatty")),
    _denied("the scope as an object", "require.scopes", _ask(scope={"chat": True})),
    _denied("scopes joined by commas", "require.scopes", _ask(scope="openid,chat")),
    _denied("another role", "require.roles", _ask(roles=[EVIL])),
    _denied("the role in upper case", "require.roles", _ask(roles=["MEMBER"])),
    _denied("the role as a key", "require.roles", _ask(roles={"member": True})),
    _denied("another plan", "require.claims.plan", _ask(plan=EVIL)),
    _denied("the plan missing", "require.claims.plan", _ask(plan=None)),
    _denied("the plan an object", "require.claims.plan", _ask(plan={"pro": 1})),
    _denied("the plan and a line break", "require.claims.plan", _ask(plan="pro\n")),
    _denied("an operation of admins", "rules.threads.delete.roles", _ask(DELETE)),
    _denied(
        "the same, its type escaped", "rules.threads.delete.roles", _ask(DELETE.replace(b"delete", b"delet\\u0065"))
    ),
    _denied("the session of such a route", "require.scopes", _session),
]
