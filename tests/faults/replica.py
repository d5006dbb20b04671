"""One replica of a backend, as a process that can be killed: ``python -m tests.faults.replica PORT FILE``.

Writes the case of each request to FILE before it answers, and prints a line once it listens. It holds streams behind
their first event, and does not even begin others, until SIGUSR1 lets them all finish.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.backend import Visit, listening
from tests.faults.process import ROOT

EVENT: Final = b'data: {"type":"progress_update","text":"1"}\n\n'
_CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNK
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


async def main(port: int, heard: Path) -> None:
    finish = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, finish.set)
    with heard.open("ab", buffering=0) as sink:

        async def script(visit: Visit) -> None:
            # The system keeps it, however this process ends.
            sink.write(visit.case.encode() + b"\n")
            if visit.case.startswith("json"):
                visit.write(_JSON)
                return
            if visit.case.startswith("mute"):
                await finish.wait()
            visit.write(_STREAM)
            if visit.case.startswith("held"):
                await finish.wait()
            visit.write(_CHUNK + b"0\r\n\r\n")

        async with listening(port, script):
            print("ready", flush=True)
            await asyncio.Event().wait()


@contextlib.contextmanager
def replica(port: int, heard: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Such a process, listening; killed at the end."""
    command = [sys.executable, "-m", "tests.faults.replica", str(port), str(heard)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
