"""A process that lives no longer than whoever started it."""

import subprocess
import sys
from pathlib import Path

from gateway.demo.leash import GRACE
from tests.support.servers import free_port

LEASH = [sys.executable, "-m", "gateway.demo.leash"]
# Ends only by SIGKILL or os._exit: the module ignores SIGTERM.
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


def test_a_module_ends_when_its_holder_is_gone() -> None:
    """The end of standard input ends a server that knows nothing of it."""
    command = [*LEASH, "http.server", "--bind", "127.0.0.1", str(free_port())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.poll() is None
        process.communicate(timeout=10)

    assert process.returncode != 0


def test_a_module_that_ignores_sigterm_ends_too(tmp_path: Path) -> None:
    """Politely first, then at once: a holder's death is never survived."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    with subprocess.Popen(
        [*LEASH, "stubborn"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.communicate(timeout=GRACE + 5)

    assert process.returncode == 1


def test_a_module_gets_its_arguments_and_its_exit_status_counts(tmp_path: Path) -> None:
    """As under `python -m`: `sys.argv` and `__main__` are the module's own."""
    (tmp_path / "echo.py").write_text("import sys; print(__name__, *sys.argv[1:]); sys.exit(3)")
    with subprocess.Popen(
        [*LEASH, "echo", "--port", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()

        assert (process.wait(10), output) == (3, b"__main__ --port 1\n")
