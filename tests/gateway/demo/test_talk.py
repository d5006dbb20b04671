"""A browser's part, as a program."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.demo.ports import Ports
from gateway.demo.talk import TalkFailed, Turn, Visitor, read_events

PORTS = Ports(gateway=8080, issuer=8081, backend=8082)
STREAM = """\
data: {"type":"thread.created","thread":{"id":"thr_1"}}

data: {"type":"thread.item.done","item":{"type":"user_message"}}

:
data: {"type":"thread.item.updated","item_id":"a","update":{"type":"x","delta":"Hel"}}

data: {"type":"thread.item.updated","item_id":"a","update":{"type":"x","delta":"lo"}}

data: {"type":"thread.item.done","item":{"type":"assistant_message"}}

"""
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
        return httpx.Response(200, text=STREAM, headers={"x-request-id": "req-1"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        yield Visitor(client, ports=PORTS)


def test_the_cookie_of_one_port_goes_to_the_other(visitor: Visitor, requests: list[httpx.Request]) -> None:
    """As in a browser: signed in at the issuer, known at the gateway, whose Origin the question names."""
    visitor.sign_in("alice")
    turn = visitor.ask({"type": "threads.create"})

    assert visitor.session() == {"id": "alice"}
    assert list(turn.texts()) == ["Hel", "lo"]
    assert (turn.thread_id, turn.request_id) == ("thr_1", "req-1")
    assert [str(request.url) for request in requests] == [
        "http://127.0.0.1:8081/login",
        "http://127.0.0.1:8080/chatkit",
        "http://127.0.0.1:8080/session",
    ]
    assert requests[1].headers["origin"] == "http://127.0.0.1:8080"


def test_a_refusal_is_said_in_the_words_of_whoever_refused(visitor: Visitor) -> None:
    """The message a person would be shown, with the status and the path."""
    turn = visitor.ask({"type": "threads.create"})

    with pytest.raises(TalkFailed, match=r"^/session answered 401: You are not signed in\.$"):
        visitor.session()
    with pytest.raises(TalkFailed, match=r"^/chatkit answered 401: You are not signed in\.$"):
        list(turn.texts())
    with pytest.raises(TalkFailed, match="the issuer answered 400: no such user"):
        visitor.sign_in("mallory")


def test_an_error_event_ends_the_answer(visitor: Visitor) -> None:
    """A 200 is no success yet: the stream says how it went."""
    text = 'data: {"type":"error","code":"custom","message":"The assistant is busy."}\n\n'
    turn = Turn(httpx.Response(200, text=text))

    with pytest.raises(TalkFailed, match="the answer ended with an error: The assistant is busy"):
        list(turn.texts())


def test_a_refusal_that_is_no_json_is_quoted() -> None:
    """A proxy's HTML page is shown, cut short."""
    request = httpx.Request("POST", "http://127.0.0.1:8080/chatkit")
    turn = Turn(httpx.Response(502, text="<html>" + "x" * 1000, request=request))

    with pytest.raises(TalkFailed, match=r"^/chatkit answered 502: <html>x{194}$"):
        list(turn.texts())


def test_heartbeats_and_blank_lines_are_no_events() -> None:
    """Comments keep the line warm and mean nothing."""
    assert list(read_events([":", "", 'data: {"type":"a"}', "", ": still here", 'data:{"type":"b"}'])) == [
        {"type": "a"},
        {"type": "b"},
    ]
