"""Many questions: the prompt, and the few words it understands besides.

Rules: Ctrl-C stops the answer and keeps the conversation; Ctrl-D, or Ctrl-C where nothing is being answered, ends it; a
question that failed can be sent again, because it is still the last one.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from gateway.chat.client import ChatFailed
from gateway.chat.conversation import Conversation, Events
from gateway.chat.events import Event
from gateway.chat.screen import Screen, text_view
from gateway.chat.shown import choices

HELP = """\
/retry   ask the last question again        /new    begin a new conversation
/help    this list                          /quit   end (so does Ctrl-D)
Ctrl-C stops an answer. Everything else is a question."""
PROMPT = "> "


class Prompt:
    """A conversation at a terminal.

    Args:
        read_line: Shows its argument and gives a line; raises EOFError when there are no more.
    """

    def __init__(self, conversation: Conversation, screen: Screen, read_line: Callable[[str], str]) -> None:
        self.conversation = conversation
        self.screen = screen
        self.read_line = read_line
        self.failed = ""

    def run(self) -> None:
        """Until the person has had enough."""
        self.screen.note("Ask; /help says what else there is.")
        while True:
            try:
                line = self.read_line(PROMPT).strip()
            except (EOFError, KeyboardInterrupt):
                self.screen.say("")
                return
            if line == "/quit":
                return
            if line:
                self._take(line)

    def _take(self, line: str) -> None:
        match line:
            case "/help":
                self.screen.say(HELP)
            case "/new":
                self.conversation.forget()
                self.failed = ""
                self.screen.say("a new conversation")
            case "/retry":
                self._retry()
            case _ if line.startswith("/"):
                self.screen.say(f"{line.split()[0]} is not known; /help says what is")
            case _:
                self._ask(line)

    def _ask(self, text: str) -> None:
        asked_before = self.conversation.question_id
        self._show(self.conversation.say(text))
        # A question that never reached the thread has no id to be retried by: it is sent anew.
        self.failed = text if self.conversation.question_id == asked_before else ""

    def _retry(self) -> None:
        if self.failed:
            self._ask(self.failed)
        elif self.conversation.can_retry:
            self._show(self.conversation.retry())
        else:
            self.screen.say("nothing has been asked yet")

    def _show(self, events: Events) -> None:
        try:
            show_events(events, text_view(self.screen), self.screen)
            form = self.conversation.turn.form
            if form is not None:
                questions = [question for question in form["inputs"] if isinstance(question, dict)]
                answers = {str(question.get("id")): self._read_answer(question) for question in questions}
                self._show(self.conversation.fill_in(str(form["id"]), answers))
        except ChatFailed as exc:
            self.screen.say(f"{exc}; /retry sends it again")
        except (EOFError, KeyboardInterrupt):
            self.screen.say("stopped")

    def _read_answer(self, question: Mapping[str, Any]) -> list[str]:
        """A number stands for what is offered under it; an empty line skips the question."""
        offered = choices(question)
        numbered = "".join(f"\n  {number} {value}" for number, value in enumerate(offered, 1))
        self.screen.say(f"{question.get('question')}{numbered}")
        line = self.read_line("answer, or nothing to skip: ").strip()
        if line.isdecimal() and 0 < int(line) <= len(offered):
            return [offered[int(line) - 1]]
        return [line] if line else []


def show_events(events: Events, show: Callable[[Event], None], screen: Screen) -> None:
    """Show one answer. However it ends, its text has a line end and its connection is closed. Raises ChatFailed."""
    try:
        with closing(events):
            for event in events:
                show(event)
    finally:
        screen.end_text()
