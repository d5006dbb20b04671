"""One answer, filled by hand: how long the backend was silent within it."""

import asyncio

import pytest

from gateway.backends.alarm import Alarm
from gateway.backends.answer import Answer


class Wire:
    """A connection that nobody looks at."""

    is_sending = False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def finish_sending(self) -> None: ...

    async def send_more(self, data: bytes) -> None: ...


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock the test turns on."""

    now = 100.0

    def time(self) -> float:
        return self.now


def answer_on(loop: Loop) -> Answer:
    answer = Answer(Wire(), loop, Alarm(loop))
    answer.end_in(3600.0, lambda: pytest.fail("not that late"))
    return answer


@pytest.mark.parametrize("is_tapped", [True, False])
def test_the_longest_silence_between_two_pieces_is_kept(is_tapped: bool) -> None:
    """Whether pieces go straight to the client or are fetched; neither the wait for the first counts, nor that for
    the end."""
    loop = Loop()
    answer = answer_on(loop)
    seen = [answer.longest_gap]

    async def read() -> None:
        while await answer.read(1000.0, (lambda data: True) if is_tapped else None):
            pass

    task = loop.create_task(read())
    for pause in (50.0, 2.0, 7.0, 3.0):
        loop.run_until_complete(asyncio.sleep(0))
        loop.now += pause
        answer.put(b"data: x\n\n")
        loop.run_until_complete(asyncio.sleep(0))
        seen.append(answer.longest_gap)
    loop.now += 500.0
    answer.finish()
    loop.run_until_complete(task)
    answer.close()
    loop.close()

    assert seen == [-1.0, -1.0, 2.0, 7.0, 7.0]
    assert answer.longest_gap == 7.0
