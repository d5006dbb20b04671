"""Pictures made smaller by a process with bounds."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from agent_backend.attachments.renditions import Renditions, media_type_of
from tests.agent_backend.attachments.world import opened, picture


def renditions(*, max_pixels: int = 10_000_000, timeout: float = 20) -> Renditions:
    return Renditions(max_pixels=max_pixels, edges=(32, 64), timeout=timeout)


def reading(data: bytes) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return data

    return read


async def test_one_picture_per_edge() -> None:
    """In the order of the edges, with their types."""
    made = await renditions().make(reading(picture((200, 100), mode="RGBA", color=(0, 0, 0, 0))))

    assert made is not None
    assert [opened(data).size for data in made] == [(32, 16), (64, 32)]
    assert [media_type_of(data) for data in made] == ["image/png", "image/png"]
    assert media_type_of((await renditions().make(reading(picture(form="JPEG"))) or [b""])[0]) == "image/jpeg"


async def test_without_a_usable_picture_there_is_none_and_no_error() -> None:
    """Neither for damage, nor for too many pixels, nor when time is over."""
    assert await renditions().make(reading(b"\x89PNG\r\n\x1a\n damaged")) is None
    assert await renditions(max_pixels=100).make(reading(picture((11, 10)))) is None
    assert await renditions(timeout=0.001).make(reading(picture())) is None


async def test_a_burst_is_made_two_at_a_time() -> None:
    """All are made in the end, and those that wait are not read yet."""
    maker, open_now, most = renditions(), 0, 0

    async def read() -> bytes:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        return picture()

    async def one() -> bool:
        nonlocal open_now
        made = await maker.make(read)
        open_now -= 1
        return made is not None

    assert await asyncio.gather(*(one() for _ in range(5))) == [True] * 5
    assert most == 2


async def test_the_process_has_none_of_our_secrets() -> None:
    """What is in our environment is not in its: it starts with an empty one, and isolated."""
    os.environ["PYTHONSTARTUP"] = os.environ["PYTHONPATH"] = "/nowhere"
    try:
        assert await renditions().make(reading(picture())) is not None
    finally:
        del os.environ["PYTHONSTARTUP"], os.environ["PYTHONPATH"]
