"""What stands between load and backend: the gateway, others for comparison, or nothing at all.

The others do less: nginx passes on what comes, haproxy verifies the token. None but the gateway writes the user into
the body, signs an assertion, refuses other sites, logs, or understands the stream.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from tests.bench.material import AUDIENCE, ISSUER, PUBLIC_URL
from tests.bench.processes import Program
from tests.support.servers import free_port

ROOT = Path(__file__).parents[2]
CONFIGS = Path(__file__).parent / "configs"

# Descriptors that a program needs besides two for each connection.
SPARE_FILES = 500

# Stands for the interpreter that is chosen for a Python program.
PYTHON = "python"

# Distributions put servers where only root's path leads.
_PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One program, or ``direct``, which is none.

    Attributes:
        command: Its first word is looked for on the path; ``{config}`` and ``{folder}`` are filled in.
        version: Words that make it print its version.
        config: The name of its file in `configs/`.
        ready: A path that answers 200 once it is ready; None: when it listens.
    """

    name: str
    command: Sequence[str] = ()
    version: Sequence[str] = ()
    config: str = ""
    ready: str | None = None

    def run_by(self, python: str) -> "Subject":
        """The same with the interpreter ``python``, if it is a Python program."""
        return replace(self, command=(python, *self.command[1:])) if self.command[:1] == (PYTHON,) else self

    def find(self) -> str | None:
        """Where the program is, None if it is not installed."""
        if not self.command:
            return self.name
        return shutil.which(self.command[0]) or shutil.which(self.command[0], path=_PATH)

    def find_version(self) -> str:
        """Its version, as far as it is a number with dots."""
        if not self.command:
            return ""
        done = subprocess.run([self.find() or "", *self.version], capture_output=True, text=True, check=False, cwd=ROOT)
        found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        return found.group() if found else "?"

    def prepare(self, folder: Path, *, backend: int, files: int) -> Program:
        """Write its configuration for a free port.

        Args:
            folder: Of the material; the configuration and the output go there too.
            backend: The port of the backend.
            files: Descriptors that it may have.
        """
        port = free_port()
        values: Mapping[str, object] = {
            "port": port,
            "backend": backend,
            "folder": folder,
            "files": files,
            "connections": (files - SPARE_FILES) // 2,
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "public_url": PUBLIC_URL,
        }
        config = folder / self.config
        config.write_text(Template((CONFIGS / self.config).read_text()).substitute(values))
        program, *words = (word.format(config=config, folder=folder) for word in self.command)
        return Program(
            command=[self.find() or program, *words],
            folder=ROOT,
            port=port,
            ready=self.ready,
            output=folder / f"{self.name}.log",
        )


SUBJECTS: Mapping[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject(name="direct"),
        Subject(
            name="nginx", command=("nginx", "-p", "{folder}", "-c", "{config}"), version=("-v",), config="nginx.conf"
        ),
        Subject(name="haproxy", command=("haproxy", "-db", "-f", "{config}"), version=("-v",), config="haproxy.cfg"),
        Subject(
            name="gateway",
            command=(PYTHON, "-m", "gateway", "serve", "--settings", "{config}"),
            version=("-m", "gateway", "--version"),
            config="gateway.toml",
            ready="/readyz",
        ),
    )
}
