"""The gateway as it is served, with two more paths: `/census` and `/memory` say what the process holds at this moment.

Run as ``python -m tests.faults.observed FILE``; prints what ``gateway serve`` prints.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.serving import serve
from gateway.settings import load_settings
from gateway.wire.logs import configure_logging


async def census(request: Request) -> JSONResponse:
    """Tasks and descriptors; whoever asks is among them."""
    return JSONResponse({"tasks": len(asyncio.all_tasks()), "descriptors": len(os.listdir("/proc/self/fd"))})


async def memory(request: Request) -> JSONResponse:
    """Blocks of Python's allocator in use, about one for each small object; garbage is not."""
    gc.collect()
    return JSONResponse({"blocks": sys.getallocatedblocks()})


if __name__ == "__main__":
    configure_logging("json", "info")
    sys.exit(serve(load_settings(Path(sys.argv[1])), extra_routes=[Route("/census", census), Route("/memory", memory)]))
