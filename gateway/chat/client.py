"""The HTTP of a ChatKit client: one request, one answer in flight.

Rules: redirects are not followed, because a credential goes to the address that was given and nowhere else; whatever
goes wrong becomes ChatFailed with a sentence for a person, here and nowhere else; an answer that is left is closed, by
which the gateway and the backend learn that nobody reads it any more.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.chat.bodies import Body
from gateway.chat.events import BadStream, Event, EventReader
from gateway.chat.shown import AnswerText, Text
from gateway.chat.turn import Turn

# What is read of a refusal: a problem document is far smaller, and a proxy's page says enough with its beginning.
MAX_REFUSAL = 65536
# What to look at, by status.
HINTS = {
    401: "check the cookie or token",
    403: "check the permissions, and with a cookie --origin",
    404: "check --url and --thread",
    405: "check --url",
}


class ChatFailed(Exception):
    """Somebody on the way refused, or there is no complete answer. The message is for the person at the terminal."""


class ChatClient:
    """Sends ChatKit requests to one URL.

    Args:
        http: Has the credential, the time-outs and the authorities; not closed here.
        url: The route's, as a page would be given it.
        origin: The page that is stood in for; a gateway asks for it where a cookie comes.
        max_time: Seconds that one answer may take altogether.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        url: str,
        origin: str | None = None,
        max_time: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.http = http
        self.url = url
        self.headers = {"accept": "text/event-stream, application/json", **({"origin": origin} if origin else {})}
        self.max_time = max_time
        self.clock = clock

    def ask(self, body: Body) -> "Answer":
        """Send a streaming operation. Raises ChatFailed unless an event stream begins."""
        deadline = None if self.max_time is None else self.clock() + self.max_time

        def is_late() -> bool:
            return deadline is not None and self.clock() > deadline

        with failures_explained(self.url):
            request = self.http.build_request("POST", self.url, json=body, headers=self.headers)
            response = self.http.send(request, stream=True)
        try:
            check_stream(response, is_late)
        except BaseException:
            response.close()
            raise
        return Answer(response, is_late=is_late)


class Answer:
    """One answer in flight: read ``events`` or ``texts``, once. A context manager that closes it.

    Attributes:
        turn: How it is going.
    """

    def __init__(self, response: httpx.Response, *, is_late: Callable[[], bool] = lambda: False) -> None:
        self.response = response
        self.is_late = is_late
        self.turn = Turn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.response.close()

    @property
    def request_id(self) -> str:
        """What the gateway's and the backend's logs call this request."""
        return str(self.response.headers.get("x-request-id", ""))

    @property
    def thread_id(self) -> str:
        return self.turn.thread_id

    def events(self) -> Generator[Event, None, None]:
        """Every event as it arrives. Raises ChatFailed once it is known that there will be no complete answer."""
        reader = EventReader()
        with self, failures_explained(str(self.response.request.url)):
            for data in self.response.iter_bytes():
                for event in reader.feed(data):
                    self.turn.take(event)
                    yield event
                if self.is_late():
                    raise ChatFailed("the answer takes longer than --max-time")
            reader.end()
        problem = self.turn.problem()
        if problem is not None:
            raise ChatFailed(problem)

    def texts(self) -> Iterator[str]:
        """The assistant's text as it arrives, without anything else. Raises ChatFailed, as ``events`` does."""
        answer = AnswerText()
        for event in self.events():
            yield from (piece.text for piece in answer.take(event) if isinstance(piece, Text))


@contextmanager
def failures_explained(url: str) -> Iterator[None]:
    """What the network or a stream did wrong, as ChatFailed."""
    place = httpx.URL(url)
    name = f"{place.scheme}://{place.netloc.decode()}"
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise ChatFailed(f"no connection to {name} in time (--connect-timeout)") from exc
    except httpx.TimeoutException as exc:
        raise ChatFailed(f"{name} has sent nothing for too long (--timeout, --max-time)") from exc
    except httpx.ConnectError as exc:
        raise ChatFailed(f"no connection to {name}: {exc}") from exc
    except httpx.HTTPError as exc:
        raise ChatFailed(f"the connection to {name} broke before the answer was complete: {exc}") from exc
    except BadStream as exc:
        raise ChatFailed(f"{name} does not speak ChatKit here: {exc}") from exc
    except UnicodeEncodeError as exc:
        # A thread's id, a tool's name: said by the server, and half a character long.
        raise ChatFailed(f"{name} does not speak ChatKit here: it calls something by what is no text") from exc


def check_stream(response: httpx.Response, is_late: Callable[[], bool]) -> None:
    """Raise ChatFailed unless an event stream begins here."""
    check_answer(response, is_late)
    kind = response.headers.get("content-type", "nothing")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        raise ChatFailed(f"{response.request.url.path} answered with {kind}, not with an event stream; check --url")


def check_answer(response: httpx.Response, is_late: Callable[[], bool] = lambda: False) -> None:
    """Raise ChatFailed unless this is a 200: in the words of whoever refused, with what helps to find out more."""
    if response.status_code == 200:
        return
    with failures_explained(str(response.request.url)):
        text = read_beginning(response, is_late)
    problem = read_problem(text)
    reason = problem.get("message") or text[:200] or response.reason_phrase
    if response.has_redirect_location:
        reason = f"go to {response.headers['location'][:200]}; redirects are not followed, check --url"
    hint = HINTS.get(response.status_code)
    wait = response.headers.get("retry-after", "")
    request_id = problem.get("request_id") or response.headers.get("x-request-id")
    remarks = [
        hint,
        f"try again in {wait} s" if wait.isdigit() else None,
        f"request {request_id}" if request_id else None,
    ]
    said = "; ".join(remark for remark in remarks if remark)
    path = response.request.url.path
    raise ChatFailed(f"{path} answered {response.status_code}: {reason}{f' ({said})' if said else ''}")


def read_beginning(response: httpx.Response, is_late: Callable[[], bool]) -> str:
    """As much of a refusal as there is room and time for."""
    data = b""
    for piece in response.iter_bytes():
        data += piece
        if len(data) >= MAX_REFUSAL or is_late():
            break
    return data[:MAX_REFUSAL].decode("utf-8", "replace").strip()


def read_problem(text: str) -> Mapping[str, Any]:
    """RFC 9457 with ChatKit's ``message``; empty if it is something else."""
    try:
        problem = httpx.Response(200, text=text).json()
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}
