"""The Next.js example as people run it: installed, built and started by npm, before real processes.

The example is copied out of the repository first, together with the kit that it takes from there, so that nothing is
left behind. Without Node its tests are skipped; where `CI` is set they fail.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.processes import ROOT
from tests.browser.example import EXAMPLES, World, address, running_services, wait_until_ok

EXAMPLE = f"{EXAMPLES}/nextjs"
KIT = "gateway/kit/static"
# What Next.js 16 asks for.
NODE = (20, 9)
# Seconds. A build takes ten to twenty on two cores that nothing else uses.
PATIENCE = 300


def require_npm() -> str:
    """The path of npm; skips the test where there is none, or only one whose Node.js is too old."""
    npm = shutil.which("npm")
    version = node_version() if npm else ()
    if npm is None or version < NODE:
        found = f"only Node.js {'.'.join(map(str, version))}" if version else "no Node.js"
        (pytest.fail if "CI" in os.environ else pytest.skip)(
            f"{found} on this machine, {'.'.join(map(str, NODE))} or newer is needed (Debian: apt install npm)"
        )
    return npm


def node_version() -> tuple[int, ...]:
    """Major and minor."""
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])


def install_example(folder: Path) -> Path:
    """A copy of the example with its packages; ``folder`` becomes a small repository. Returns the example's place."""
    npm = require_npm()
    place = folder / EXAMPLE
    shutil.copytree(ROOT / EXAMPLE, place, ignore=shutil.ignore_patterns("node_modules", ".next", "gateway-kit"))
    shutil.copytree(ROOT / KIT, folder / KIT)
    run(npm, "ci", "--prefer-offline", "--no-audit", "--no-fund", cwd=place)
    run(npm, "run", "kit", cwd=place)
    return place


def run(*command: str, cwd: Path, **environment: str) -> str:
    """A command that must succeed; what it said otherwise is the failure."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=node_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if result.returncode != 0:
        pytest.fail(f"{' '.join(command)}: {result.stdout}{result.stderr}", pytrace=False)
    return result.stdout


def node_environment(**more: str) -> dict[str, str]:
    """Next.js would call home otherwise."""
    return {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **more}


@contextlib.contextmanager
def running_example(example: Path, folder: Path) -> Iterator[World]:
    """The page, built and started, and all that is behind it."""
    world = World(folder=folder, example=example)
    run("npm", "run", "build", cwd=example, **page_environment(world))
    with running_services(world):
        world.processes.enter_context(next_server(world, world.page_port))
        yield world


@contextlib.contextmanager
def next_server(world: World, port: int, **environment: str) -> Iterator[str]:
    """`npm start`, without npm between us and the process that must end."""
    command = ["node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", str(port)]
    settings = node_environment(**{**page_environment(world), **environment})
    log = world.folder / f"next-{port}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=world.example, env=settings, stdout=sink, stderr=subprocess.STDOUT)
    try:
        wait_until_ok(address(port))
        yield address(port)
    finally:
        process.terminate()
        process.wait(20)


def page_environment(world: World) -> dict[str, str]:
    return {
        "GATEWAY_URL": world.gateway_url,
        "NEXT_PUBLIC_LOGIN_URL": f"{world.issuer_url}/login",
        "NEXT_PUBLIC_LOGOUT_URL": f"{world.issuer_url}/logout",
    }
