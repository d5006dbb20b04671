"""A browser's part, as a program. The asking itself is in `tests/gateway/chat`."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.chat.bodies import create_body
from gateway.chat.client import ChatFailed
from gateway.demo.ports import Ports
from gateway.demo.talk import Visitor
from tests.gateway.chat.events import ANSWER, stream

PORTS = Ports(gateway=8080, issuer=8081, backend=8082)
REFUSED = {"title": "Credential missing", "status": 401, "message": "You are not signed in."}


@pytest.fixture
def requests() -> list[httpx.Request]:
    return []


@pytest.fixture
def visitor(requests: list[httpx.Request]) -> Iterator[Visitor]:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if request.url.path == "/login":
            headers = {"set-cookie": "auth_token=abc; HttpOnly; Path=/", "location": "/"}
            return httpx.Response(303 if b"alice" in request.content else 400, headers=headers, text="no such user\n")
        if "auth_token=abc" not in request.headers.get("cookie", ""):
            return httpx.Response(401, json=REFUSED)
        if request.url.path == "/session":
            return httpx.Response(200, json={"user": {"id": "alice"}})
        return httpx.Response(200, content=stream(*ANSWER), headers={"content-type": "text/event-stream"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        yield Visitor(client, ports=PORTS)


def test_the_cookie_of_one_port_goes_to_the_other(visitor: Visitor, requests: list[httpx.Request]) -> None:
    """As in a browser: signed in at the issuer, known at the gateway, whose Origin the question names."""
    visitor.sign_in("alice")
    answer = visitor.ask(create_body("Hello"))

    assert visitor.session() == {"id": "alice"}
    assert (list(answer.texts()), answer.thread_id) == (["Hel", "lo"], "thr_1")
    assert [str(request.url) for request in requests] == [
        "http://127.0.0.1:8081/login",
        "http://127.0.0.1:8080/chatkit",
        "http://127.0.0.1:8080/session",
    ]
    assert requests[1].headers["origin"] == "http://127.0.0.1:8080"


def test_a_refusal_is_said_in_the_words_of_whoever_refused(visitor: Visitor) -> None:
    """The message a person would be shown, with the status and the path."""
    with pytest.raises(ChatFailed, match=r"^/session answered 401: You are not signed in\."):
        visitor.session()
    with pytest.raises(ChatFailed, match=r"^/chatkit answered 401: You are not signed in\."):
        visitor.ask(create_body("Hello"))
    with pytest.raises(ChatFailed, match="the issuer answered 400: no such user"):
        visitor.sign_in("mallory")
