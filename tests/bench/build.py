"""Compile the load programs, once for each version of their source."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.errors import CannotMeasure

SOURCES = Path(__file__).parent / "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Paths of the executables."""

    origin: Path
    load: Path


def build_programs(folder: Path) -> Programs:
    """Compile what is not in ``folder`` yet.

    Raises:
        CannotMeasure: There is no compiler, or it did not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return Programs(origin=_build("origin", folder), load=_build("load", folder))


def _build(name: str, folder: Path) -> Path:
    source = SOURCES / f"{name}.c"
    version = hashlib.sha256(source.read_bytes() + (SOURCES / "common.h").read_bytes()).hexdigest()[:12]
    program = folder / f"{name}-{version}"
    if not program.exists():
        _compile(source, program)
    return program


def _compile(source: Path, program: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise CannotMeasure(
            "a C compiler is needed: install gcc or clang (Debian: apt install gcc libc6-dev), or set CC"
        )
    # Under another name until it is whole: an interrupted compiler leaves nothing that looks finished.
    unfinished = program.with_suffix(".new")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(unfinished), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)}:\n{done.stderr}")
    unfinished.rename(program)
