"""Many questions: the prompt."""

import io
from collections.abc import Iterator

import pytest

from gateway.chat.interactive import Prompt
from gateway.chat.screen import Screen
from tests.gateway.chat.events import ANSWER, QUESTION, Event, done, failed, item
from tests.gateway.chat.test_conversation import Server

Line = str | type[BaseException]


def chat(server: Server, *lines: Line) -> tuple[str, str]:
    """What is on standard output and standard error after these lines; an exception is what the keyboard does."""
    rest: Iterator[Line] = iter(lines)

    def read_line(prompt: str) -> str:
        line = next(rest, EOFError)
        if isinstance(line, str):
            return line
        raise line

    out, err = io.StringIO(), io.StringIO()
    Prompt(server.conversation(), Screen(out, err), read_line).run()
    assert next(rest, None) is None
    return out.getvalue(), err.getvalue()


def test_questions_go_on_in_one_thread_until_the_person_has_had_enough() -> None:
    """Empty lines ask nothing; /new begins again; what is not known is said."""
    server = Server(ANSWER)
    out, err = chat(server, "One", "  ", "Two", "/new", "Three", "/dance now", "/help", "/quit")

    assert out == "Hello\n" * 3
    assert server.asked() == [
        ("threads.create", None),
        ("threads.add_user_message", "thr_1"),
        ("threads.create", None),
    ]
    assert "/dance is not known; /help says what is" in err
    assert "/retry   ask the last question again" in err


@pytest.mark.parametrize("key", [EOFError, KeyboardInterrupt])
def test_both_keys_end_it_at_the_prompt(key: type[BaseException]) -> None:
    """Without a traceback."""
    server = Server(ANSWER)
    chat(server, key)

    assert server.bodies == []


def test_a_failed_answer_is_retried_by_its_question() -> None:
    """The thread has the question already: it is not asked twice."""
    server = Server((*ANSWER[:2], failed("Busy.", retry=True)), (done("Hello"),))
    out, err = chat(server, "One", "/retry")

    assert out == "Hello\n"
    assert "Busy.; /retry sends it again" in err
    assert server.asked() == [("threads.create", None), ("threads.retry_after_item", "thr_1")]


def test_a_question_that_never_arrived_is_sent_anew() -> None:
    """There is nothing in the thread to retry; the message is not lost."""
    server = Server(ANSWER, (failed("Database away."),), (QUESTION_2, done("Hello")))
    out, _ = chat(server, "One", "Two", "/retry")

    assert out == "Hello\n" * 2
    assert [body["params"]["input"]["content"][0]["text"] for body in server.bodies] == ["One", "Two", "Two"]


QUESTION_2: Event = {"type": "thread.item.done", "item": {"type": "user_message", "id": "msg_q2"}}


def test_nothing_to_retry() -> None:
    """Said, not sent."""
    server = Server(ANSWER)
    _, err = chat(server, "/retry")

    assert "nothing has been asked yet" in err
    assert server.bodies == []


FORM = item(
    "structured_input",
    id="sti_1",
    status="pending",
    inputs=[
        {"id": "a", "question": "Which?", "options": [{"value": "Red"}, {"value": "Blue"}]},
        {"id": "b", "question": "Why?"},
        {"id": "c", "question": "More?"},
    ],
)


def test_a_form_is_answered_line_by_line() -> None:
    """A number stands for an offer, other words for themselves, nothing for a skip; then the answer goes on."""
    server = Server((*ANSWER[:2], FORM), (QUESTION, done("Thanks")))
    out, err = chat(server, "Ask me", "2", "I like 2", "")

    assert out == "Thanks\n"
    assert "Which?\n  1 Red\n  2 Blue\n" in err
    assert server.bodies[1]["params"]["input"]["answers"] == {
        "a": {"values": ["Blue"], "skipped": False},
        "b": {"values": ["I like 2"], "skipped": False},
        "c": {"values": [], "skipped": True},
    }


def test_a_form_that_is_left_is_no_end() -> None:
    """The next question is asked all the same."""
    server = Server((*ANSWER[:2], FORM), ANSWER)
    out, err = chat(server, "Ask me", KeyboardInterrupt, "Never mind")

    assert out == "Hello\n"
    assert "stopped" in err
    assert server.asked()[1] == ("threads.add_user_message", "thr_1")
