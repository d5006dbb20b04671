"""What this project adds to ASGI's types."""

from functools import partial
from typing import Any

from gateway.wire import asgi


async def test_what_is_done_can_be_awaited() -> None:
    """It waits for nothing, and gives nothing."""
    done: Any = asgi.DONE

    assert await done is None


def test_what_is_done_is_no_method_of_its_class() -> None:
    """A `partial` in a class is bound from Python 3.14 on, which would hand it an argument that `iter` refuses; and to
    look it up is a FutureWarning in 3.13, at every piece of every answer."""
    assert not isinstance(vars(type(asgi.DONE))["__await__"], partial)
