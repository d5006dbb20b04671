"""A browser's part in the demo, as a program: sign in, ask who that is, ask the assistant.

Rules: it goes the way a page goes, by cookie, with the gateway's own Origin; it never looks into the token. The asking
is `gateway chat`'s; what a page of the demo does besides is here.
"""

from collections.abc import Mapping
from typing import Any

import httpx

from gateway.chat.bodies import Body
from gateway.chat.client import Answer, ChatClient, ChatFailed, check_answer
from gateway.demo.ports import Ports


class Visitor:
    """One person with one cookie jar."""

    def __init__(self, client: httpx.Client, *, ports: Ports) -> None:
        self.client = client
        self.ports = ports
        self.chat = ChatClient(client, url=f"{ports.gateway_url}/chatkit", origin=ports.gateway_url)

    def sign_in(self, user: str) -> None:
        """Get the cookie from the issuer, as its form does. Raises ChatFailed."""
        answer = self.client.post(f"{self.ports.issuer_url}/login", data={"user": user})
        if answer.status_code != 303:
            raise ChatFailed(f"the issuer answered {answer.status_code}: {answer.text.strip()}")

    def session(self) -> Mapping[str, Any]:
        """Who the gateway says this is. Raises ChatFailed."""
        answer = self.client.get(f"{self.ports.gateway_url}/session")
        check_answer(answer)
        user: Mapping[str, Any] = answer.json()["user"]
        return user

    def ask(self, body: Body) -> Answer:
        """Send a streaming operation; the answer is read piece by piece from what this returns. Raises ChatFailed."""
        return self.chat.ask(body)
