"""A browser's part in the demo, as a program: sign in, ask who that is, ask the assistant, read the stream.

Rules: it goes the way a page goes, by cookie, with the gateway's own Origin; it never looks into the token. What goes
wrong is said in the words of whoever refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx

from gateway.demo.ports import Ports


class TalkFailed(Exception):
    """Somebody on the way refused, or the answer ended with an error."""


class Visitor:
    """One person with one cookie jar."""

    def __init__(self, client: httpx.Client, *, ports: Ports) -> None:
        self.client = client
        self.ports = ports

    def sign_in(self, user: str) -> None:
        """Get the cookie from the issuer, as its form does."""
        answer = self.client.post(f"{self.ports.issuer_url}/login", data={"user": user})
        if answer.status_code != 303:
            raise TalkFailed(f"the issuer answered {answer.status_code}: {answer.text.strip()}")

    def session(self) -> Mapping[str, Any]:
        """Who the gateway says this is."""
        answer = self.client.get(f"{self.ports.gateway_url}/session")
        check_answer(answer)
        user: Mapping[str, Any] = answer.json()["user"]
        return user

    def ask(self, body: Mapping[str, Any]) -> "Turn":
        """Send a streaming operation; the answer is read piece by piece from what this returns."""
        headers = {"origin": self.ports.gateway_url}
        url = f"{self.ports.gateway_url}/chatkit"
        return Turn(self.client.send(self.client.build_request("POST", url, json=body, headers=headers), stream=True))


class Turn:
    """One answer in flight; ``thread_id`` is known once the first event has come."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.thread_id = ""

    @property
    def request_id(self) -> str:
        """What the gateway's and the backend's logs call this request."""
        return str(self.answer.headers.get("x-request-id", ""))

    def texts(self) -> Iterator[str]:
        """The assistant's text as it arrives. Raises TalkFailed for a refusal or an `error` event."""
        try:
            if self.answer.status_code != 200:
                self.answer.read()
                check_answer(self.answer)
            for event in read_events(self.answer.iter_lines()):
                yield from self._take(event)
        finally:
            self.answer.close()

    def _take(self, event: Mapping[str, Any]) -> Iterator[str]:
        match event:
            case {"type": "thread.created", "thread": {"id": thread_id}}:
                self.thread_id = thread_id
            case {"type": "thread.item.updated", "update": {"delta": str(text)}}:
                yield text
            case {"type": "error"}:
                raise TalkFailed(f"the answer ended with an error: {event.get('message') or event.get('code')}")


def create_body(text: str, **metadata: Any) -> Mapping[str, Any]:
    """A `threads.create` request; ``metadata`` stands at the top level, if there is any."""
    content = [{"type": "input_text", "text": text}]
    message = {"content": content, "attachments": [], "inference_options": {}}
    body = {"type": "threads.create", "params": {"input": message}}
    return {**body, "metadata": metadata} if metadata else body


def read_events(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The events of a ChatKit stream; heartbeats and blank lines are passed over."""
    for line in lines:
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def check_answer(answer: httpx.Response) -> None:
    """Raise TalkFailed unless this is a 200, with the message a person would be shown."""
    if answer.status_code == 200:
        return
    try:
        reason = answer.json()["message"]
    except (ValueError, LookupError, TypeError):
        reason = answer.text[:200]
    raise TalkFailed(f"{answer.request.url.path} answered {answer.status_code}: {reason}")
