"""One thread: questions in, events out."""

import json
from typing import Any

import httpx
import pytest

from gateway.chat.client import ChatClient, ChatFailed
from gateway.chat.conversation import Conversation
from tests.gateway.chat.events import ANSWER, QUESTION, Event, done, failed, item, stream

CALL = item("client_tool_call", id="ctc_1", status="pending", name="get_time_zone")


class Server:
    """Answers with one list of events after the other; the last stays."""

    def __init__(self, *answers: tuple[Event, ...]) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []

    def conversation(self, **options: Any) -> Conversation:
        http = httpx.Client(transport=httpx.MockTransport(self._answer))
        return Conversation(ChatClient(http, url="https://chat.example.com/chatkit"), **options)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"content-type": "text/event-stream", "x-request-id": f"req-{len(self.bodies)}"}
        return httpx.Response(200, headers=headers, content=stream(*events))

    def asked(self) -> list[tuple[str, str | None]]:
        """Operation and thread of each request."""
        return [(body["type"], body["params"].get("thread_id")) for body in self.bodies]


def test_the_second_question_goes_into_the_thread_of_the_first() -> None:
    """With the same metadata each time; a retry names the question."""
    server = Server(ANSWER, (QUESTION, done("And?")), (done("Again"),))
    conversation = server.conversation(metadata={"pageContext": {"path": "/"}})
    list(conversation.say("One"))
    list(conversation.say("Two"))
    list(conversation.retry())

    assert server.asked() == [
        ("threads.create", None),
        ("threads.add_user_message", "thr_1"),
        ("threads.retry_after_item", "thr_1"),
    ]
    assert server.bodies[2]["params"]["item_id"] == "msg_q"
    assert [body["metadata"] for body in server.bodies] == [{"pageContext": {"path": "/"}}] * 3
    assert conversation.request_id == "req-3"


def test_a_thread_that_is_given_is_gone_on_with() -> None:
    """And forgotten when asked."""
    server = Server(ANSWER)
    conversation = server.conversation(thread_id="thr_0")
    list(conversation.say("One"))
    conversation.forget()
    list(conversation.say("Two"))

    assert server.asked() == [("threads.add_user_message", "thr_0"), ("threads.create", None)]


def test_an_agent_that_asks_for_a_page_s_tool_is_told_that_there_is_none() -> None:
    """And its answer goes on, as one."""
    server = Server((*ANSWER[:2], CALL), (done("Then I cannot say."),))
    conversation = server.conversation()
    events = list(conversation.say("What time is it?"))

    assert events == [*ANSWER[:2], CALL, done("Then I cannot say.")]
    assert server.asked() == [("threads.create", None), ("threads.add_client_tool_output", "thr_1")]
    assert server.bodies[1]["params"]["result"] == {"error": "a terminal has no tool get_time_zone"}


def test_an_agent_that_goes_in_circles_is_left() -> None:
    """Nobody would be asked in between."""
    server = Server((*ANSWER[:2], CALL))

    with pytest.raises(ChatFailed, match="more than 8 tools of a page"):
        list(server.conversation().say("What time is it?"))
    assert len(server.bodies) == 9


def test_a_form_is_filled_in_within_its_thread() -> None:
    """By the item that asked."""
    server = Server((*ANSWER, item("structured_input", id="sti_1", status="pending", inputs=[])), (done("Thanks"),))
    conversation = server.conversation()
    list(conversation.say("Ask me"))
    assert conversation.turn.form is not None
    list(conversation.fill_in("sti_1", {"a": ["x"]}))

    assert server.asked()[1] == ("threads.add_structured_input", "thr_1")
    assert server.bodies[1]["params"]["item_id"] == "sti_1"


def test_what_a_retry_needs_survives_a_failure() -> None:
    """The question is in the thread although its answer is not."""
    server = Server((*ANSWER[:2], failed("Busy.", retry=True)))
    conversation = server.conversation()
    assert not conversation.can_retry

    with pytest.raises(ChatFailed, match=r"^Busy\.$"):
        list(conversation.say("Hello"))
    assert (conversation.can_retry, conversation.turn.may_retry) == (True, True)
