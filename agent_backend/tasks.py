"""Work that is finished once it was begun.

Rules: a cancellation waits for it, and is passed on afterwards. Knows nothing of what the work is.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do it to its end, however often the caller is cancelled meanwhile.

    For short work that bounds itself, such as one database transaction: cut in the middle, nobody would know whether
    it was done, and its connection would be lost.
    """
    task = asyncio.create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancellation = exc
    if cancellation is None:
        return task.result()
    if not task.cancelled() and task.exception():
        logger.warning("work failed behind a cancelled request", exc_info=task.exception())
    raise cancellation
