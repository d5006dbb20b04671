"""One thread: questions in, events out.

A terminal has none of a page's tools. An agent that asks for one is told so, and its answer goes on: left open, the
question would stay unanswered for good.
"""

from collections.abc import Generator, Mapping
from typing import Any

from gateway.chat.bodies import Body, answers_body, create_body, message_body, retry_body, tool_output_body
from gateway.chat.client import ChatClient, ChatFailed
from gateway.chat.events import Event
from gateway.chat.turn import Turn

# Tools that one answer may ask for. A person is not asked in between: this ends what would go in circles.
MAX_TOOL_CALLS = 8

Events = Generator[Event, None, None]


class Conversation:
    """Begins a thread with the first question, unless it is given one.

    Args:
        metadata: Goes with every request: page context and whatever else the agent is to know.

    Attributes:
        thread_id: Empty as long as there is none.
        request_id: The last request's, as the logs call it.
        turn: The last answer.
    """

    def __init__(self, client: ChatClient, *, thread_id: str = "", metadata: Mapping[str, Any] | None = None) -> None:
        self.client = client
        self.thread_id = thread_id
        self.metadata = metadata or {}
        self.request_id = ""
        self.question_id = ""
        self.turn = Turn()

    def say(self, text: str) -> Events:
        """The events of the answer, tools included. Raises ChatFailed."""
        if self.thread_id:
            return self._run(message_body(self.thread_id, text, **self.metadata))
        return self._run(create_body(text, **self.metadata))

    def retry(self) -> Events:
        """The last question once more. Raises ChatFailed."""
        return self._run(retry_body(self.thread_id, self.question_id, **self.metadata))

    def fill_in(self, item_id: str, answers: Mapping[str, list[str]]) -> Events:
        """Answers to a form's questions. Raises ChatFailed."""
        return self._run(answers_body(self.thread_id, item_id, answers, **self.metadata))

    def forget(self) -> None:
        """The next question begins a new thread."""
        self.thread_id = self.question_id = ""

    @property
    def can_retry(self) -> bool:
        return bool(self.thread_id and self.question_id)

    def _run(self, body: Body) -> Events:
        for _ in range(MAX_TOOL_CALLS + 1):
            yield from self._send(body)
            call = self.turn.tool_call
            if call is None:
                return
            result = {"error": f"a terminal has no tool {call.get('name')}"}
            body = tool_output_body(self.thread_id, result, **self.metadata)
        raise ChatFailed(f"the agent asked for more than {MAX_TOOL_CALLS} tools of a page; a terminal has none")

    def _send(self, body: Body) -> Events:
        with self.client.ask(body) as answer:
            self.turn = answer.turn
            self.request_id = answer.request_id
            for event in answer.events():
                self.thread_id = answer.thread_id or self.thread_id
                self.question_id = answer.turn.question_id or self.question_id
                yield event
