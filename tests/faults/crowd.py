"""Many clients, and one request for each of many cases."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from tests.faults.client import TIMEOUT, Answer, Client, connect
from tests.faults.process import GatewayProcess

Ask = Callable[[Client, int], Awaitable[Answer]]


async def each(
    gateway: GatewayProcess, cases: Iterable[int], *, ask: Ask | None = None, clients: int = 32
) -> dict[int, Answer]:
    """One answer per case; the backend knows it by its number.

    A client asks again on the same connection: an answer without a clean end breaks the next one.

    Args:
        ask: How a client asks for a case; default: it sends the request and reads the answer.
        clients: Connections at once.
    """

    async def plainly(client: Client, case: int) -> Answer:
        return await client.ask(gateway.request(str(case)))

    waiting = iter(cases)
    answers: dict[int, Answer] = {}

    async def work() -> None:
        async with connect(gateway.port) as client:
            for case in waiting:
                async with asyncio.timeout(TIMEOUT):
                    answers[case] = await (ask or plainly)(client, case)

    await asyncio.gather(*(work() for _ in range(clients)))
    return answers
