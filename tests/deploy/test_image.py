"""The image: its steps in an empty folder, what is in it then, and that it runs without writing anywhere."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_backend.settings import ServerSettings as BackendServer
from gateway.settings.model import ServerSettings as GatewayServer
from tests.deploy.conftest import Surroundings
from tests.deploy.dockerfile import Image, build, read_stages, visible_files
from tests.deploy.files import COMPOSE, DEPLOY, ROOT
from tests.deploy.machine import Machine, Program, machine
from tests.support.servers import free_port

DOCKERFILE = DEPLOY / "Dockerfile"
IGNORED = DEPLOY / "Dockerfile.dockerignore"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built as the engine builds it, by the tests' own interpreter; once, and not kept: it has some 200 MB."""
    folder = tmp_path_factory.mktemp("image")
    yield build(DOCKERFILE, ROOT, folder)
    shutil.rmtree(folder)


def installed(image: Image) -> dict[str, str]:
    """Distributions and their versions."""
    folders = image.root.glob("app/lib/python*/site-packages/*.dist-info")
    found = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in folders)
    return {normal(name): version for name, _, version in found}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements/run.txt").read_text().splitlines()
    pins = (re.match(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {normal(pin[1]): pin[2] for pin in pins if pin}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_installed_is_the_lock_and_nothing_else(image: Image) -> None:
    """No package of another version, none that builds, installs or tests; both of ours."""
    found = installed(image)

    assert found.pop("chatkit-gateway") == "0.1.0"
    assert found.items() <= locked().items()
    assert found.keys().isdisjoint({"pip", "setuptools", "hatchling", "pytest", "mypy", "ruff"})


def test_every_package_is_checked_by_its_hash() -> None:
    """Whatever is installed from an index; ours is in the context, and brings nothing along."""
    (first, _) = read_stages(DOCKERFILE)
    installs = [step.text for step in first.all("RUN") if " install " in step.text]

    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_the_image_is_slim_and_runs_as_nobody() -> None:
    """A slim base, what the first stage made, a user by number, whom Kubernetes can tell from root; nothing is run."""
    first, last = read_stages(DOCKERFILE)
    (user,) = last.all("USER")

    assert first.base == last.base == "python:3.13-slim-bookworm"
    assert user.text == "10001:10001"
    assert last.all("RUN") == []
    assert all("--from=build" in step.options for step in last.all("COPY"))


def test_both_ports_are_the_defaults() -> None:
    """Of the gateway and the agent backend."""
    (exposed,) = read_stages(DOCKERFILE)[-1].all("EXPOSE")
    ports = [GatewayServer.model_fields["port"].default, BackendServer.model_fields["port"].default]

    assert exposed.text.split() == [str(port) for port in ports]


def test_the_builder_sees_nothing_that_it_does_not_need() -> None:
    """No tests, no history, no virtual environment, no keys of somebody's demo."""
    rules = [line for line in IGNORED.read_text().splitlines() if not line.startswith("#")]
    names = [path.relative_to(ROOT) for path in visible_files(ROOT, ROOT, rules)]

    assert {name.parts[0] for name in names} == {
        "README.md",
        "agent_backend",
        "gateway",
        "pyproject.toml",
        "requirements",
    }
    assert [name for name in names if name.suffix in (".pyc", ".pem", ".sqlite3")] == []


@pytest.fixture
def place(tmp_path: Path, image: Image, surroundings: Surroundings) -> Iterator[Machine]:
    """A machine whose programs are those of the image."""
    places = {
        **surroundings.places,
        "8080": str(free_port()),
        "9000": str(free_port()),
        "/etc/chatkit": str(tmp_path),
        "/run/secrets": f"{tmp_path}/secrets",
        "http://backend:": "http://127.0.0.1:",
        "http://gateway:": "http://127.0.0.1:",
        "0.0.0.0": "127.0.0.1",
    }
    with machine(tmp_path, places) as here:
        yield here


def test_both_commands_serve_and_write_nothing(image: Image, place: Machine, surroundings: Surroundings) -> None:
    """The default command is the gateway, the other one the backend; neither touches the image."""
    environment = {name: value.replace("/app", f"{image.root}/app") for name, value in image.environment.items()}
    files = {f"/etc/chatkit/{name}": (COMPOSE / name).read_text() for name in ("gateway.toml", "backend.toml")}
    secrets = {**surroundings.gateway_secrets, **surroundings.backend_secrets}
    files |= {f"/run/secrets/{name}": text for name, text in secrets.items()}
    backend = Program(
        name="backend",
        command=["agent_backend", "migrate", "--settings", "/etc/chatkit/backend.toml"],
        environment={**environment, "AGENT_BACKEND_SECRETS_DIR": "/run/secrets"},
        files=files,
    )
    gateway = Program(name="gateway", command=image.command, environment=environment, files=files)
    before = contents(image)

    with place.running(gateway, lambda: place.answers("/readyz", port="8080")):
        migrated = place.run(backend)
        serve = backend.instead("agent_backend", "serve", *backend.command[2:])
        with place.running(serve, lambda: place.answers("/readyz", port="9000")):
            pass

    assert migrated.returncode == 0, migrated.stderr
    assert contents(image) == before


def test_nothing_can_be_installed_into_it(image: Image) -> None:
    """There is no pip: whoever gets in finds little to work with."""
    done = subprocess.run(
        [image.place("/app/bin/python"), "-m", "pip", "--version"], capture_output=True, text=True, check=False
    )

    assert "No module named pip" in done.stderr


def contents(image: Image) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change."""
    files = (path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
