"""The ASGI types as this project uses them, and what its own server offers beyond ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol

Headers = list[tuple[bytes, bytes]]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DIRECT: Final = "gateway.direct"


class Direct(Protocol):
    """A request's connection, asked directly: what `receive` tells too, for the price of a call instead of a task.

    Attributes:
        task: In which the request is answered.
    """

    task: asyncio.Task[None] | None

    def take_body(self) -> bytes | None:
        """The whole body, if it is there already."""

    def end_in(self, seconds: float) -> None:
        """The answer has to be out by then, however slowly the client takes it."""

    def call_when_gone(self, callback: Callable[[], None] | None) -> None:
        """Tell once when the client goes away before its answer is complete; None takes that back."""


def offer_direct(scope: Scope, direct: Direct) -> None:
    """For a server. The ASGI specification leaves `extensions` to servers and apps that know of each other."""
    scope["extensions"] = {_DIRECT: direct}


def task_of(scope: Mapping[str, Any]) -> asyncio.Task[Any] | None:
    """In which this request is answered."""
    direct = direct_of(scope)
    return asyncio.current_task() if direct is None else direct.task


def direct_of(scope: Mapping[str, Any]) -> Direct | None:
    """None under a server that is not ours: everything then goes through `receive`."""
    extensions = scope.get("extensions")
    return extensions.get(_DIRECT) if extensions else None
