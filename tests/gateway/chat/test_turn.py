"""How an answer is going."""

import pytest

from gateway.chat.turn import Turn
from tests.gateway.chat.events import ANSWER, CREATED, QUESTION, Event, begun, delta, done, failed, item

REMOVED: Event = {"type": "thread.item.removed", "item_id": "msg_a"}
CALL = item("client_tool_call", id="ctc_1", status="pending", name="get_time_zone")
FORM = item("structured_input", id="sti_1", status="pending", inputs=[])


def turn_after(*events: Event) -> Turn:
    turn = Turn()
    for event in events:
        turn.take(event)
    return turn


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (ANSWER, None),
        ((CREATED, QUESTION, item("widget", id="w")), None),
        ((QUESTION, begun("a"), done("x", item_id="a"), begun("b"), done("y", item_id="b")), None),
        ((QUESTION, begun(), REMOVED, done("instead", item_id="b")), None),
        ((CREATED, QUESTION), "no answer came"),
        ((), "no answer came"),
        ((QUESTION, begun(), REMOVED), "no answer came"),
        ((QUESTION, begun(), delta("Hel")), "the answer stopped before its end"),
        ((*ANSWER, begun("b"), delta("And", item_id="b")), "the answer stopped before its end"),
        ((*ANSWER, failed("The assistant is busy.")), "The assistant is busy."),
        ((QUESTION, failed(None)), "the assistant failed (custom)"),
        ((QUESTION, {"type": "error"}), "the assistant failed (no reason given)"),
    ],
)
def test_complete_or_why_not(events: tuple[Event, ...], problem: str | None) -> None:
    """No event says "complete": an orderly end alone is not enough."""
    assert turn_after(*events).problem() == problem


def test_what_a_next_request_needs_is_kept() -> None:
    """The thread, the question, what the answer waits for."""
    turn = turn_after(CREATED, QUESTION, CALL, FORM)

    assert (turn.thread_id, turn.question_id) == ("thr_1", "msg_q")
    assert (turn.tool_call, turn.form) == (CALL["item"], FORM["item"])


def test_what_has_been_answered_is_waited_for_no_more() -> None:
    """A call or a form that comes completed is history."""
    call = item("client_tool_call", id="ctc_1", status="completed", name="get_time_zone")
    form = item("structured_input", id="sti_1", status="answered", inputs=[])

    assert (turn_after(call).tool_call, turn_after(form).form) == (None, None)


@pytest.mark.parametrize(("event", "may"), [(failed("x", retry=True), True), (failed("x"), False), (CREATED, False)])
def test_a_retry_is_offered_where_the_error_offers_it(event: Event, may: bool) -> None:
    """Whoever sent the error knows whether the same may be sent again."""
    assert turn_after(event).may_retry is may


def test_unknown_and_misshapen_events_change_nothing() -> None:
    """A newer server may send more than is known here."""
    events: tuple[Event, ...] = ({"type": "thread.created"}, {"type": "new"}, {"type": "thread.item.done", "item": 7})

    assert turn_after(*events) == Turn()
