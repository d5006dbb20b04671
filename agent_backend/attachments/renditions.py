"""Smaller pictures, made by a process that has nothing: no settings, no network of ours, no keys; and little time.

Rules: one picture in, one per edge out, or None: without a usable picture there is no preview, and never an error. Two
at a time at most. The work is in `thumbnail`.
"""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from agent_backend.attachments.kinds import kind_of_head

SCRIPT = Path(__file__).with_name("thumbnail.py")
# Processes at once: each may hold half a gigabyte, and a burst of uploads can wait.
MAX_PROCESSES = 2
# Bytes of one rendition: a photo at 1,536 pixels has 300 KB, a noisy PNG some megabytes.
MAX_RENDITION = 16 * 1024 * 1024

logger = logging.getLogger(__name__)


class Renditions:
    """Makes them.

    Args:
        max_pixels: A larger picture gets none.
        edges: Pixels of the longer edge of each.
        timeout: Seconds for all of one picture's.
    """

    def __init__(self, *, max_pixels: int, edges: Sequence[int], timeout: float) -> None:
        self._arguments = [str(number) for number in (max_pixels, *edges)]
        self._timeout = timeout
        self._free = asyncio.Semaphore(MAX_PROCESSES)

    async def make(self, read: Callable[[], Awaitable[bytes]]) -> list[bytes] | None:
        """One JPEG or PNG per edge; None when there is no usable picture.

        Args:
            read: Gives the picture, and is asked only when it is its turn: those that wait hold no memory.
        """
        async with self._free:
            output = await asyncio.to_thread(partial(self._run, await read()))
        made = split(output) if output else []
        if any(len(rendition) > MAX_RENDITION for rendition in made):
            logger.warning("no preview: too large", extra={"bytes": max(map(len, made))})
            return None
        return made or None

    def _run(self, data: bytes) -> bytes | None:
        # -I: neither the environment nor the working directory can bring code in. An empty environment: no keys.
        command = [sys.executable, "-I", str(SCRIPT), *self._arguments]
        try:
            done = subprocess.run(  # noqa: S603  a fixed command, numbers and our own path
                command, input=data, capture_output=True, timeout=self._timeout, env={}, check=False
            )
        except subprocess.TimeoutExpired:
            logger.warning("no preview: out of time", extra={"bytes": len(data)})
            return None
        if done.returncode:
            logger.info(
                "no preview", extra={"status": done.returncode, "reason": done.stderr[-100:].decode("ascii", "replace")}
            )
            return None
        return done.stdout


def split(output: bytes) -> list[bytes]:
    """The renditions in the output of the process."""
    found = []
    while output:
        length = int.from_bytes(output[:4], "big")
        found.append(output[4 : 4 + length])
        output = output[4 + length :]
    return found


def media_type_of(rendition: bytes) -> str:
    return "image/png" if kind_of_head(rendition) == "png" else "image/jpeg"
