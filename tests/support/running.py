"""The gateway as it is served, on a real socket, in a thread of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.serving import open_server
from gateway.settings import load_settings


@contextmanager
def running_gateway(folder: Path, toml: str) -> Iterator[str]:
    """Serve with the settings in ``toml`` (port 0 takes a free one); gives the base URL."""
    path = folder / "gateway.toml"
    path.write_text(toml)
    server, sock = open_server(load_settings(path))
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    port = sock.getsockname()[1]
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
