"""Several processes as one, with tiny ones in place of the demo's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.demo.supervisor import (
    STOP_TIMEOUT,
    Part,
    PartFailed,
    Supervisor,
    answers_ok,
    read_tail,
    signals_as_interrupt,
)
from tests.support.servers import free_port

SLEEP = "import time; time.sleep(60)"
CRASH = "import sys; print('listening'); sys.exit('cannot open database')"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
SLEEPER = f"import os; print(os.getpid(), flush=True); {SLEEP}"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}

# A supervisor in a process of its own: two parts, their ids on standard output.
PROGRAM = """
import sys
from pathlib import Path
from gateway.demo.supervisor import STOP_TIMEOUT, Part, Supervisor, signals_as_interrupt

logs = Path(sys.argv[1])
code = sys.argv[2]
leashed = [sys.executable, "-m", "gateway.demo.leash", "sleeper"]
parts = [Part(name=n, command=leashed, log=logs / n) for n in ("one", "two")]
(logs / "sleeper.py").write_text(code)
try:
    with signals_as_interrupt(), Supervisor(parts, environment={"PYTHONPATH": f"{logs}:."}) as supervisor:
        while not all((logs / n).read_text() for n in ("one", "two")):
            supervisor.check()
        print((logs / "one").read_text().strip(), (logs / "two").read_text().strip(), flush=True)
        supervisor.watch()
except KeyboardInterrupt:
    sys.exit(0)
"""


def part(directory: Path, name: str, code: str, *probes: str) -> Part:
    return Part(name=name, command=[sys.executable, "-c", code], log=directory / f"{name}.log", probes=probes)


def is_alive(process_id: int) -> bool:
    """Zombies count as ended: whoever adopted them has not looked yet."""
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False)
    return bool(status.stdout.strip()) and not status.stdout.startswith("Z")


def wait_ended(process_ids: list[int], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while any(map(is_alive, process_ids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, process_ids))


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.read_text()


def test_it_is_ready_when_every_probe_answers(tmp_path: Path) -> None:
    """A real server's probe is asked until it answers 200."""
    port = free_port()
    server = f"from http.server import *; HTTPServer(('127.0.0.1', {port}), SimpleHTTPRequestHandler).serve_forever()"
    parts = [part(tmp_path, "server", server, f"http://127.0.0.1:{port}/")]
    with Supervisor(parts, environment=ENVIRONMENT) as supervisor:
        supervisor.wait_ready()

        assert answers_ok(f"http://127.0.0.1:{port}/")
        assert not answers_ok(f"http://127.0.0.1:{port}/missing")

    assert not answers_ok(f"http://127.0.0.1:{port}/")


def test_a_crashed_part_stops_the_rest_and_shows_its_log(tmp_path: Path) -> None:
    """The reason is on the terminal, not in a file to look for; nothing is left running."""
    parts = [
        part(tmp_path, "sleeper", f"import os; print(os.getpid()); {SLEEP}"),
        part(tmp_path, "crasher", f"import time; time.sleep(1); {CRASH}"),
    ]
    with pytest.raises(PartFailed) as failure, Supervisor(parts, environment=ENVIRONMENT) as supervisor:
        supervisor.watch()

    assert str(failure.value) == (
        f"crasher ended by itself (exit status 1). The end of {tmp_path}/crasher.log:\n\n"
        "  listening\n  cannot open database"
    )
    assert not is_alive(int(read_tail(parts[0].log)))


def test_a_part_that_crashes_while_starting_is_noticed_at_once(tmp_path: Path) -> None:
    """Nobody waits a minute for a probe that cannot answer any more."""
    parts = [part(tmp_path, "crasher", CRASH, "http://127.0.0.1:1/livez")]
    started = time.monotonic()
    with pytest.raises(PartFailed, match="cannot open database"):
        start_and_wait(parts, start_timeout=30)

    assert time.monotonic() - started < 10


def test_a_part_that_never_gets_ready_is_named(tmp_path: Path) -> None:
    """With the probe that did not answer."""
    parts = [part(tmp_path, "sleeper", SLEEP, "http://127.0.0.1:1/livez")]

    with pytest.raises(PartFailed, match=r"sleeper was not ready after 0\.2 s \(http://127\.0\.0\.1:1/livez"):
        start_and_wait(parts, start_timeout=0.2)


def start_and_wait(parts: list[Part], *, start_timeout: float) -> None:
    with Supervisor(parts, environment=ENVIRONMENT, start_timeout=start_timeout) as supervisor:
        supervisor.wait_ready()


def test_a_command_that_does_not_exist_leaves_nothing_running(tmp_path: Path) -> None:
    """Parts started before it are stopped again."""
    first = part(tmp_path, "first", f"import os; print(os.getpid(), flush=True); {SLEEP}")
    missing = Part(name="missing", command=[str(tmp_path / "nothing")], log=tmp_path / "missing.log")
    supervisor = Supervisor([first, missing], environment=ENVIRONMENT)

    with pytest.raises(FileNotFoundError):
        supervisor.__enter__()
    assert supervisor._running == []


def test_a_part_that_ignores_sigterm_is_killed_after_a_bounded_wait(tmp_path: Path) -> None:
    """Stopping always ends."""
    stubborn = part(tmp_path, "stubborn", STUBBORN)
    started = time.monotonic()
    with Supervisor([stubborn], environment=ENVIRONMENT, stop_timeout=0.3):
        wait_for_text(stubborn.log)

    assert time.monotonic() - started < 10


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_is_no_failure(tmp_path: Path, kind: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal: exit 0, no process left."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path, SLEEPER], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        children = [int(word) for word in supervisor.stdout.readline().split()]
        supervisor.send_signal(kind)

        assert supervisor.wait(15) == 0
    assert len(children) == 2
    assert not any(map(is_alive, children))


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    """Who presses it twice means now: parts that ignore SIGTERM are killed well before the bounded wait is over."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), DEAF]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        children = [int(word) for word in supervisor.stdout.readline().split()]
        supervisor.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert supervisor.poll() is None
        supervisor.send_signal(signal.SIGINT)

        assert supervisor.wait(STOP_TIMEOUT / 2) == 0
    assert not any(map(is_alive, children))


def test_a_killed_supervisor_leaves_no_orphans(tmp_path: Path) -> None:
    """SIGKILL cannot be handled; the pipe to each part closes all the same."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path, SLEEPER], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        children = [int(word) for word in supervisor.stdout.readline().split()]
        supervisor.kill()

    assert len(children) == 2
    assert wait_ended(children)


def test_signals_are_the_callers_again_afterwards() -> None:
    """A program that ran the demo keeps its own handlers."""
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt), signals_as_interrupt():
        signal.raise_signal(signal.SIGTERM)

    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_the_tail_of_a_log_is_bounded(tmp_path: Path) -> None:
    """A log of megabytes is not read into memory or put on the terminal."""
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {number}\n" for number in range(200_000)))
    lines = read_tail(log).splitlines()

    assert (len(lines), lines[-1]) == (40, "  line 199999")
