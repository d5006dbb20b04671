"""The real processes: started from the command line as an operator would, with all they write kept for the log rows."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Seconds. A cold start of either takes one to three on a busy machine.
START_TIMEOUT = 30.0

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process: its port, and the file with everything it wrote to stdout and stderr."""

    port: int
    output: Path
    process: "subprocess.Popen[bytes]"

    def await_line(self, text: str) -> None:
        """Wait until its output contains ``text``: it says so when it is ready."""
        deadline = time.monotonic() + START_TIMEOUT
        while text not in self.output.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"not started: {self.output.read_text()}")
            time.sleep(0.02)


def run_once(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the gateway that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_TIMEOUT,
        env=_clean_environment(),
    )


@contextlib.contextmanager
def service(module: str, settings: Path, *, port: int) -> Iterator[Service]:
    """Run ``python -m module serve --settings FILE`` until the end."""
    output = settings.with_suffix(".log")
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", "--settings", str(settings)],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_clean_environment(),
        )
    try:
        yield Service(port=port, output=output, process=process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clean_environment() -> dict[str, str]:
    """Nothing of the caller's settings; output unbuffered, so that the logs are whole whenever they are read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "AGENT_BACKEND_"))}
    kept.pop("DATABASE_URL", None)
    return {**kept, "PYTHONUNBUFFERED": "1"}
