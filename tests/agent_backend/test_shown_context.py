"""What a page is shown of what the backend was told, where the settings say so."""

import json
from typing import Any

import pytest

from agent_backend.app import build_app
from agent_backend.context import PageContext, RequestContext, User
from agent_backend.shown_context import EFFECT, context_effect
from tests.agent_backend.world import Caller, World, running_app, thread_of, user_input

TOKEN = "header.payload.signature"


def shown(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == "client_effect" and event["name"] == EFFECT]


async def ask(caller: Caller, operation: str, **params: Any) -> list[dict[str, Any]]:
    """A streamed answer, with the user's own token beside the assertion as the gateway sends it."""
    caller.http.headers["authorization"] = f"Bearer {TOKEN}"
    return await caller.stream(operation, **params)


def test_everything_the_agent_knows_is_in_it() -> None:
    """User, issuer, tenant, page, locale, request: one object, whose members are there even when they are empty."""
    context = RequestContext(
        user=User(id="alice", issuer="https://login.test", name="Alice", roles=("user",)),
        request_id="req-1",
        locale="de-AT",
        page=PageContext(title="Orders", headings=("Open", "Done")),
        token=TOKEN,
        claims={"sub": "alice"},
    )

    effect = context_effect(context)

    assert (effect.name, effect.data) == (
        EFFECT,
        {
            "user": {"id": "alice", "name": "Alice", "email": None, "roles": ["user"]},
            "issuer": "https://login.test",
            "tenant": None,
            "page": {"title": "Orders", "headings": ["Open", "Done"]},
            "locale": "de-AT",
            "request_id": "req-1",
            "assertion": {"sub": "alice"},
        },
    )


async def test_each_answer_begins_with_what_was_told_for_this_very_request(world: World) -> None:
    """A new message and a retry alike, before the model's first word; claims of this request, and no token."""
    app = build_app(world.settings(answer={"show_context": True}))
    async with running_app(app) as http:
        caller = Caller(gateway=world.gateway, http=http, metadata={"pageContext": {"title": "Orders"}})
        asked = await ask(caller, "threads.create", input=user_input("Hello"))
        question = next(event["item"] for event in asked if event["type"] == "thread.item.done")
        again = await ask(caller, "threads.retry_after_item", thread_id=thread_of(asked), item_id=question["id"])
        listed = await caller.send("threads.list")

    for events in (asked, again):
        (effect,) = shown(events)
        kinds = [event["type"] for event in events]
        assert kinds.index("client_effect") < kinds.index("thread.item.added")
        assert effect["data"]["page"] == {"title": "Orders"}
        assert effect["data"]["assertion"]["sub"] == "alice"
        assert effect["data"]["assertion"]["request_id"] == effect["data"]["request_id"]
    assert shown(asked)[0]["data"]["request_id"] != shown(again)[0]["data"]["request_id"]
    assert TOKEN not in json.dumps(asked) + json.dumps(again) + listed.text


@pytest.mark.parametrize("tables", [{}, {"answer": {"show_context": False}}])
async def test_nothing_is_shown_unless_the_settings_say_so(world: World, tables: dict[str, Any]) -> None:
    """Claims may be meant for the backend alone."""
    async with running_app(build_app(world.settings(**tables))) as http:
        events = await ask(Caller(gateway=world.gateway, http=http), "threads.create", input=user_input("Hello"))

    assert shown(events) == []
