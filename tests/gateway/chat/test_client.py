"""One request, one answer in flight."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from gateway.chat.bodies import create_body, tool_output_body
from gateway.chat.client import Answer, ChatClient, ChatFailed
from tests.gateway.chat.events import ANSWER, CREATED, QUESTION, begun, delta, failed, frame, stream

URL = "https://chat.example.com/chatkit"
EVENTS = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req-1"}
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, **options: object) -> ChatClient:
    http = httpx.Client(transport=httpx.MockTransport(handler))
    return ChatClient(http, url=URL, **options)  # type: ignore[arg-type]


def answering(response: httpx.Response) -> ChatClient:
    return client(lambda request: response)


def raising(error: Exception) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return handler


def test_a_question_goes_out_as_a_page_would_send_it() -> None:
    """One POST with the body, the page's origin, and what is understood."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers=EVENTS, content=stream(*ANSWER))

    answer = client(handler, origin="https://app.example.com").ask(create_body("Hello"))

    assert list(answer.events()) == list(ANSWER)
    assert (answer.thread_id, answer.request_id, answer.turn.question_id) == ("thr_1", "req-1", "msg_q")
    assert [(request.method, str(request.url)) for request in seen] == [("POST", URL)]
    assert seen[0].headers["origin"] == "https://app.example.com"
    assert seen[0].headers["accept"] == "text/event-stream, application/json"


def test_without_an_origin_none_is_invented() -> None:
    """A bearer token needs none."""
    headers = ChatClient(httpx.Client(), url=URL).headers

    assert "origin" not in headers


def test_text_alone() -> None:
    """For who wants nothing else, streamed or given whole."""
    answer = answering(httpx.Response(200, headers=EVENTS, content=stream(*ANSWER))).ask(create_body("Hello"))

    assert list(answer.texts()) == ["Hel", "lo"]


PROBLEM = {"message": "You are not signed in.", "request_id": "req-9"}


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (
            httpx.Response(401, json=PROBLEM),
            "/chatkit answered 401: You are not signed in. (check the cookie or token; request req-9)",
        ),
        (
            httpx.Response(503, json={"message": "Try later."}, headers={"retry-after": "5", "x-request-id": "req-8"}),
            "/chatkit answered 503: Try later. (try again in 5 s; request req-8)",
        ),
        (httpx.Response(502, text="<html>" + "x" * 1000), f"/chatkit answered 502: <html>{'x' * 194}"),
        (httpx.Response(500, text="[" * 100_000), f"/chatkit answered 500: {'[' * 200}"),
        (httpx.Response(404), "/chatkit answered 404: Not Found (check --url and --thread)"),
        (httpx.Response(400, json=["a list"]), '/chatkit answered 400: ["a list"]'),
        (
            httpx.Response(302, headers={"location": "https://evil.test/"}),
            "/chatkit answered 302: go to https://evil.test/; redirects are not followed, check --url",
        ),
        (httpx.Response(304), "/chatkit answered 304: Not Modified"),
        (
            httpx.Response(200, json={"data": []}),
            "/chatkit answered with application/json, not with an event stream; check --url",
        ),
        (httpx.Response(200), "/chatkit answered with nothing, not with an event stream; check --url"),
    ],
    ids=["problem", "later", "html", "deep", "empty", "list", "redirect", "nowhere", "json", "nothing"],
)
def test_a_refusal_is_said_with_what_helps(response: httpx.Response, said: str) -> None:
    """In the words of whoever refused, with the request's id for the logs."""
    with pytest.raises(ChatFailed) as caught:
        answering(response).ask(create_body("Hello"))

    assert str(caught.value) == said
    assert response.is_closed


def test_a_credential_follows_no_redirect() -> None:
    """The other address never hears of it."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://evil.test/chatkit"})

    with pytest.raises(ChatFailed, match="redirects are not followed"):
        client(handler).ask(create_body("Hello"))

    assert seen == ["chat.example.com"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectTimeout(""), "no connection to https://chat.example.com in time (--connect-timeout)"),
        (httpx.ReadTimeout(""), "https://chat.example.com has sent nothing for too long (--timeout, --max-time)"),
        (httpx.ConnectError("refused"), "no connection to https://chat.example.com: refused"),
        (
            httpx.RemoteProtocolError("closed"),
            "the connection to https://chat.example.com broke before the answer was complete: closed",
        ),
    ],
)
def test_the_network_s_failures_are_sentences(error: Exception, said: str) -> None:
    """With the setting to turn, where one helps."""
    with pytest.raises(ChatFailed) as caught:
        client(raising(error)).ask(create_body("Hello"))

    assert str(caught.value) == said


class Breaking(httpx.SyncByteStream):
    """Some events, then the network's error; ``closed`` once it is let go."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


def streaming(body: Breaking) -> httpx.Response:
    return httpx.Response(200, headers=EVENTS, stream=body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            Breaking(frame(CREATED), error=httpx.RemoteProtocolError("closed")),
            "the connection to https://chat.example.com broke before the answer was complete: closed",
        ),
        (
            Breaking(frame(CREATED), error=httpx.ReadTimeout("")),
            "https://chat.example.com has sent nothing for too long (--timeout, --max-time)",
        ),
        (
            Breaking(frame(CREATED), b"data: {"),
            "https://chat.example.com does not speak ChatKit here: the answer broke off in the middle of an event",
        ),
        (Breaking(stream(CREATED, QUESTION, begun(), delta("Hel"))), "the answer stopped before its end"),
        (Breaking(stream(CREATED, QUESTION, failed("Busy.", retry=True))), "Busy."),
    ],
    ids=["reset", "silence", "half an event", "half an answer", "error event"],
)
def test_an_answer_that_is_not_complete_is_a_failure(body: Breaking, said: str) -> None:
    """After every event that came; the connection is let go."""
    answer = answering(streaming(body)).ask(create_body("Hello"))
    events = answer.events()
    first = next(events)
    with pytest.raises(ChatFailed) as caught:
        list(events)

    assert (first, str(caught.value), body.closed) == (CREATED, said, True)


def test_who_stops_reading_closes_the_connection() -> None:
    """The gateway sees it, and the backend: the agent does not go on for nobody."""
    body = Breaking(frame(CREATED), frame(QUESTION))
    with answering(streaming(body)).ask(create_body("Hello")) as answer:
        events = answer.events()
        assert next(events) == CREATED
        assert not body.closed

    assert body.closed


def test_an_answer_has_a_time_of_its_own() -> None:
    """However lively it is: heartbeats count as time, not as an answer."""
    ticks = iter([0.0, 1.0, 2.0, 3.1])
    body = Breaking(frame(CREATED), b":\n", b":\n", b":\n")
    answer = client(lambda request: streaming(body), max_time=3.0, clock=lambda: next(ticks)).ask(create_body("Hello"))

    with pytest.raises(ChatFailed, match=r"^the answer takes longer than --max-time$"):
        list(answer.events())
    assert (list(ticks), body.closed) == ([], True)


def test_a_refusal_that_never_ends_is_no_longer_than_an_answer() -> None:
    """A byte now and then keeps every other limit away; what was said until then is told."""
    ticks = iter([0.0, 1.0, 2.0, 3.1])
    body = Breaking(b"Sor", b"ry", b".", error=httpx.ReadTimeout(""))
    refusal = httpx.Response(500, stream=body)

    with pytest.raises(ChatFailed, match=r"^/chatkit answered 500: Sorry\.$"):
        client(lambda request: refusal, max_time=3.0, clock=lambda: next(ticks)).ask(create_body("Hello"))
    assert (list(ticks), body.closed) == ([], True)


def test_what_a_server_calls_things_may_be_no_text() -> None:
    """JSON can say half a character, and a request that repeats it cannot: the server's fault, and said."""
    with pytest.raises(ChatFailed, match=r"does not speak ChatKit here: it calls something by what is no text$"):
        answering(httpx.Response(200)).ask(tool_output_body("thr_1", {"error": "a terminal has no tool \ud800"}))


def test_an_answer_in_hand_needs_no_client() -> None:
    """It reads any event stream."""
    request = httpx.Request("POST", URL)

    assert list(Answer(httpx.Response(200, content=stream(*ANSWER), request=request)).texts()) == ["Hel", "lo"]
