"""The ASGI types as this project uses them, and what its own server offers beyond ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, Protocol

Headers = list[tuple[bytes, bytes]]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DIRECT: Final = "gateway.direct"

# Lower case. What differs from one request of a page to the next; whatever else it says it says again.
VARYING: Final = frozenset({b"content-length", b"traceparent", b"tracestate", b"x-request-id"})


# In the start of an answer: its body is sent in the same turn of the loop, and the head can wait for it.
BODY_FOLLOWS: Final = "gateway.body_follows"


class _Done:
    """What has been done already: to await it takes no time, and no call of Python's."""

    # Static: from Python 3.14 on a class binds a `partial` like a method, and 3.13 warns of it at each use.
    __await__ = staticmethod(partial(iter, ()))  # an iterator will do


DONE: Final = _Done()


class Direct(Protocol):
    """A request's connection, asked directly: what `receive` tells too, for the price of a call instead of a task.

    Attributes:
        task: In which the request is answered.
        varying: Of the request's headers those in `VARYING`.
        memory: For what an app finds out from the others alone. Requests whose others are the same, letter for letter,
            have it in common, whoever sends them; it may be gone at any time.
    """

    task: asyncio.Task[None] | None
    varying: Headers
    memory: dict[Any, Any]

    def take_body(self) -> bytes | None:
        """The whole body, if it is there already."""

    def end_in(self, seconds: float) -> None:
        """The answer has to be out by then, however slowly the client takes it."""

    def call_when_gone(self, callback: Callable[[], None] | None) -> None:
        """Tell once when the client goes away before its answer is complete; None takes that back."""

    def forget_headers(self) -> None:
        """Nothing of the request's headers is needed any more, by this request or the next."""


def offer_direct(scope: Scope, direct: Direct) -> None:
    """For a server; an app that does not know of it is served all the same."""
    scope[_DIRECT] = direct


def withdraw_direct(scope: Scope) -> None:
    """When the request is over: its scope and its connection need not keep each other."""
    scope.pop(_DIRECT, None)


def direct_of(scope: Mapping[str, Any]) -> Direct | None:
    """None under a server that is not ours: everything then goes through `receive`."""
    return scope.get(_DIRECT)


def task_of(scope: Mapping[str, Any]) -> asyncio.Task[Any] | None:
    """In which this request is answered."""
    direct = scope.get(_DIRECT)
    return asyncio.current_task() if direct is None else direct.task
