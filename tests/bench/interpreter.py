"""On which Python the gateway is measured: the fastest that is installed here.

nginx and haproxy are measured as their distributions build them. A Python compiled without the compiler's profile
(`--enable-optimizations --with-lto`), as version managers do it, runs the same gateway a sixth slower than the
distribution's, and does not tell that it was: only measuring tells. It gets an environment of its own; what measures
stays where it is.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.errors import CannotMeasure
from tests.bench.subjects import ROOT

# Where distributions and images keep theirs, the versions that the gateway runs on.
FOLDERS = "/usr/bin:/usr/local/bin"
NAMES = tuple(f"python3.{minor}" for minor in range(11, 16))

# How much faster another one has to be to be worth an environment of its own: less is noise.
WORTH = 1.05

_LOCK = ROOT / "requirements" / "run.txt"

# Microseconds for parsers of the standard library that are written in Python, the best of many. A loop of a few lines
# would show little of what a compiler's profile does.
_PROBE = """
import email.parser, json, time
lines = "From: a@example.com\\r\\nTo: b@example.com\\r\\nX-Long: " + "z" * 50 + "\\r\\n\\r\\nbody\\r\\n"
text = json.dumps({"list": [1, 2, {"key": "value" * 2}] * 10, "object": {str(number): number for number in range(20)}})
decoder = json.JSONDecoder()
decoder.scan_once = json.scanner.py_make_scanner(decoder)
times = []
for _ in range(500):
    begun = time.perf_counter()
    decoder.decode(text)
    email.parser.Parser().parsestr(lines)
    times.append(time.perf_counter() - begun)
print(min(times) * 1e6)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that is there.

    Attributes:
        probe: Microseconds, of work that is the same for all.
    """

    path: str
    version: str
    probe: float


def choose_python(
    wanted: str | None, cache: Path, say: Callable[[str], None], *, folders: str = FOLDERS
) -> Interpreter:
    """An interpreter with the gateway installed: ``wanted``, or the fastest.

    Args:
        wanted: A path or a name; None takes the fastest of ours and those in ``folders``.
        cache: For environments; one that is there is taken again.

    Raises:
        CannotMeasure: ``wanted`` is no Python that the gateway runs on, or the gateway could not be installed.
    """
    if wanted is not None:
        found = look_at(shutil.which(wanted) or wanted)
        if found is None:
            raise CannotMeasure(f"{wanted} is no Python 3.11 or newer")
        return _install(found, cache, say)
    own = look_at(sys.executable)
    assert own is not None
    paths = {Path(path).resolve(): path for name in NAMES if (path := shutil.which(name, path=folders))}
    others = [found for path in paths.values() if (found := look_at(path))]
    for interpreter in rank(own, others):
        if interpreter is own:
            break
        try:
            return _install(interpreter, cache, say)
        except CannotMeasure as exc:
            say(f"{interpreter.path} is left out: {exc}")
    return own


def rank(own: Interpreter, others: Iterable[Interpreter]) -> Sequence[Interpreter]:
    """The fastest first. Others stand before our own only if they are faster by more than noise."""
    return sorted((own, *others), key=lambda it: it.probe * (1 if it is own else WORTH))


def look_at(path: str) -> Interpreter | None:
    """Its version and speed; None if it does not run, or is too old for the gateway."""
    show = "import platform, sys; print(platform.python_version() if sys.version_info >= (3, 11) else '')"
    try:
        # Apart: a version manager's name of a version that it does not have fails here, with words.
        version = subprocess.run([path, "-c", show], capture_output=True, text=True, check=True).stdout.strip()
        if not version:
            return None
        probe = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return Interpreter(path=path, version=version, probe=float(probe))


def _install(interpreter: Interpreter, cache: Path, say: Callable[[str], None]) -> Interpreter:
    """The gateway with its locked requirements in an environment of ``interpreter``, by the pip that we have."""
    key = f"{Path(interpreter.path).resolve()} {interpreter.version} {_LOCK.read_text()}"
    folder = cache / f"python-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        say(f"installing the gateway on {interpreter.path}, Python {interpreter.version}")
        pip = [sys.executable, "-m", "pip", f"--python={python}", "--quiet", "--disable-pip-version-check", "install"]
        # Distributions leave the environment's own pip out.
        _run([interpreter.path, "-m", "venv", "--clear", "--without-pip", str(folder)])
        _run([*pip, "--require-hashes", "-r", str(_LOCK)])
        _run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
        done.touch()
    return Interpreter(path=str(python), version=interpreter.version, probe=interpreter.probe)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)}:\n{(done.stdout + done.stderr).strip()[-2000:]}")
