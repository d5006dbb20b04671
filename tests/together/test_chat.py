"""The main job, end to end: cookie in, verified identity through, streamed answer out."""

from pathlib import Path

import httpx
import pytest
from agents import ModelResponse, Usage
from agents.testing import ScriptedModel, assistant_message

from tests.together.world import Browser, answer_text, thread_id, world

PAGE = {"url": "https://app.example.com/orders", "title": "Orders", "headings": ["Open orders"]}


def test_the_assistant_knows_who_where_and_what_was_said_before(tmp_path: Path) -> None:
    """Verified name, page and history reach the model, and its answer comes back as ChatKit events in order."""
    with world(tmp_path) as running:
        alice = running.browser(page=PAGE)
        first = alice.say("My favourite colour is teal.")
        second = alice.say("What is my name, and which page am I on?", thread_id(first))

    assert [event.type for event in first[:3]] == ["thread.created", "thread.item.done", "stream_options"]
    assert sum(event.type == "thread.item.updated" for event in second) > 5
    text = answer_text(second)
    assert "Alice" in text
    assert "Orders" in text
    assert "teal" in text


def test_a_thread_is_there_after_a_restart_and_nobody_else_sees_it(tmp_path: Path) -> None:
    """History outlives both processes; another user's thread does not exist for me, on any operation."""
    with world(tmp_path) as running:
        thread = thread_id(running.browser().say("Remember the lighthouse."))
    with world(tmp_path) as running:
        alice, bob = running.browser("alice"), running.browser("bob")
        seen = alice.send("threads.get_by_id", thread_id=thread)
        listed = alice.send("threads.list").json()
        answers = [
            bob.send("threads.get_by_id", thread_id=thread),
            bob.send("items.list", thread_id=thread),
            bob.send("threads.update", thread_id=thread, title="mine"),
            bob.send("threads.delete", thread_id=thread),
            bob.send("threads.add_user_message", thread_id=thread, input=message("hello")),
        ]
        others = bob.send("threads.list").json()
        text = answer_text(alice.say("What did I say?", thread))

    assert "Remember the lighthouse." in seen.text
    assert [item["id"] for item in listed["data"]] == [thread]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert all(answer.json()["message"] for answer in answers)
    assert others["data"] == []
    assert "lighthouse" in text


def test_the_third_turn_holds_the_first_two(tmp_path: Path) -> None:
    """Seen at the model: user, assistant, user, assistant, user, oldest first."""
    model = ScriptedModel([said(f"answer {number}") for number in (1, 2, 3)])
    with world(tmp_path, model=model) as running:
        alice = running.browser(page=PAGE)
        thread = thread_id(alice.say("question 1"))
        alice.say("question 2", thread)
        alice.say("question 3", thread)

    given = str(model.calls[2].input)
    places = [given.index(text) for text in ("question 1", "answer 1", "question 2", "answer 2", "question 3")]
    assert places == sorted(places)
    assert "Orders" in given
    assert "Orders" not in str(model.calls[2].system_instructions)
    assert "Alice" in str(model.calls[2].system_instructions)


def test_what_the_client_says_about_itself_never_counts(tmp_path: Path) -> None:
    """Identity in headers and metadata loses; the model is told the verified name."""
    model = ScriptedModel([said("hello")])
    forged = {"x-user-id": "root", "x-gateway-assertion": "e30.e30.e30", "x-forwarded-user": "root"}
    with world(tmp_path, model=model) as running:
        alice = running.browser(headers=forged)
        body = alice.body("threads.create", input=message("hi")).replace(
            b'"metadata": {}', b'"metadata": {"userId": "root", "userInfo": {"name": "Root"}, "user_id": "root"}'
        )
        answer = httpx.post(f"{running.gateway_url}/chatkit", content=body, headers=alice.all_headers())

    assert answer.status_code == 200
    seen = str(model.calls[0].system_instructions) + str(model.calls[0].input)
    assert "Alice" in seen
    assert "root" not in seen.lower()


@pytest.mark.parametrize("extra", [{}, {"authorization": "Bearer TOKEN"}, {"x-gateway-assertion": "TOKEN"}])
def test_a_backend_called_without_the_gateway_refuses(tmp_path: Path, extra: dict[str, str]) -> None:
    """Inside its network but without an assertion: 401, whatever else is sent."""
    with world(tmp_path) as running:
        alice = running.browser()
        headers = {name: value.replace("TOKEN", alice.token) for name, value in extra.items()}
        answer = httpx.post(
            running.backend_url,
            content=alice.body("threads.list"),
            headers={**alice.all_headers(), **headers},
        )

    assert answer.status_code == 401
    assert answer.json()["code"].startswith("assertion_")


def test_session_says_who_is_signed_in_and_never_with_what(tmp_path: Path) -> None:
    """Without a cookie a 401 in JSON; with one the user, the issuer and the end, not to be stored."""
    with world(tmp_path) as running:
        alice = running.browser()
        signed_in = alice.session()
        signed_out = httpx.get(f"{running.gateway_url}/session")

    assert signed_in.status_code == 200
    assert signed_in.headers["cache-control"] == "no-store"
    assert alice.token not in signed_in.text
    body = signed_in.json()
    assert sorted(body) == ["authenticated", "expires_at", "issuer", "user"]
    assert body["user"] == {"id": "alice", "name": "Alice", "email": "alice@example.test", "roles": ["user"]}
    assert (signed_out.status_code, signed_out.json()["code"]) == (401, "credential_missing")


def test_a_split_cookie_and_a_bearer_token_serve_as_well(tmp_path: Path) -> None:
    """Login libraries split long tokens; programs send Authorization and no Origin."""
    with world(tmp_path) as running:
        alice = running.browser()
        half = len(alice.token) // 2
        split = f"auth_token.1={alice.token[half:]}; auth_token.0={alice.token[:half]}"
        answers = [
            with_headers(alice, {**alice.all_headers(), "cookie": split}),
            with_headers(alice, {"authorization": f"Bearer {alice.token}", "content-type": "application/json"}),
        ]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_an_encrypted_cookie_gets_an_error_that_says_so(tmp_path: Path) -> None:
    """A five-part token is a JWE that only the login library can read; the message says what to configure."""
    with world(tmp_path) as running:
        answer = Browser(url=running.gateway_url, token="eyJhbGciOiJkaXIifQ..aaaa.bbbb.cccc").send("threads.list")

    assert (answer.status_code, answer.json()["code"]) == (401, "credential_encrypted")
    assert "JWE" in answer.json()["message"]


def with_headers(browser: Browser, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{browser.url}/chatkit", content=browser.body("threads.list"), headers=headers)


def message(text: str) -> dict[str, object]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def said(text: str) -> ModelResponse:
    return ModelResponse(output=[assistant_message(text)], usage=Usage(), response_id=None)


def test_an_operation_can_ask_for_more(tmp_path: Path) -> None:
    """Whoever may chat may not yet delete; 403 names the rule, and the thread is still there."""
    rule = '[routes.support.rules."threads.delete"]\nroles = ["admin"]'
    with world(tmp_path, route=rule) as running:
        alice = running.browser()
        thread = thread_id(alice.say("Keep this."))
        refused = alice.send("threads.delete", thread_id=thread)
        kept = alice.send("threads.get_by_id", thread_id=thread)
        alice.token = running.issuer.token("alice", roles=["user", "admin"])
        deleted = alice.send("threads.delete", thread_id=thread)

    assert (refused.status_code, refused.json()["rule"]) == (403, "routes.support.rules.threads.delete.roles")
    assert (kept.status_code, deleted.status_code) == (200, 200)
