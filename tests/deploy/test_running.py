"""Each deployment, running: its own commands, settings, secrets and health checks, and a user who gets an answer."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.chat.bodies import create_body
from gateway.demo.ports import Ports
from gateway.demo.talk import Visitor
from tests.deploy import compose, pods, units
from tests.deploy.conftest import Surroundings
from tests.deploy.files import KUBERNETES, Json
from tests.deploy.machine import Machine, Program, machine
from tests.support.servers import free_port
from tests.together.world import Browser, answer_text


@contextmanager
def composed(folder: Path, around: Surroundings) -> Iterator[tuple[Machine, Program]]:
    """`compose.yaml` as `docker compose up` starts it."""
    places = {
        **around.places,
        **ports(),
        "/etc/chatkit": f"{folder}/backend",
        "/run/secrets": f"{folder}/secrets",
        "http://backend:": "http://127.0.0.1:",
        "http://gateway:": "http://127.0.0.1:",
        "0.0.0.0": "127.0.0.1",
    }
    secrets = {**around.gateway_secrets, **around.backend_secrets}
    with machine(folder, places) as here:
        gateway = compose.program("gateway", secrets)
        with here.running(gateway, lambda: here.passes(compose.health_of("gateway"))):
            migrate(here, compose.program("migrate", secrets))
            with here.running(compose.program("backend", secrets), lambda: here.passes(compose.health_of("backend"))):
                yield here, gateway


@contextmanager
def beside(folder: Path, around: Surroundings) -> Iterator[tuple[Machine, Program]]:
    """`kubernetes/sidecar`: one pod."""
    manifests = KUBERNETES / "sidecar"
    (deployment,) = pods.of_kind(manifests, "Deployment")
    pod = pods.pod_of(deployment)
    places = {**around.places, **ports("9090"), **mounts(folder), "0.0.0.0": "127.0.0.1"}
    with (
        machine(folder, places) as here,
        pod_running(here, manifests, {"migrate": pod, "backend": pod, "gateway": pod}, around) as gateway,
    ):
        yield here, gateway


@contextmanager
def apart(folder: Path, around: Surroundings) -> Iterator[tuple[Machine, Program]]:
    """`kubernetes/gateway`: a pod of each deployment."""
    manifests = KUBERNETES / "gateway"
    gateway, backend = (pods.pod_of(entry) for entry in pods.of_kind(manifests, "Deployment"))
    numbers = ports("9090")
    places = {
        **around.places,
        **numbers,
        **mounts(folder),
        "http://chatkit-backend:": "http://127.0.0.1:",
        "http://chatkit-gateway/": f"http://127.0.0.1:{numbers['8080']}/",
        "0.0.0.0": "127.0.0.1",
    }
    with (
        machine(folder, places) as here,
        pod_running(here, manifests, {"migrate": backend, "backend": backend, "gateway": gateway}, around) as program,
    ):
        yield here, program


@contextmanager
def pod_running(here: Machine, manifests: Path, owners: dict[str, Json], around: Surroundings) -> Iterator[Program]:
    """The containers ``owners`` names, each from its pod; gives the gateway's program."""
    secrets = {"chatkit-gateway": around.gateway_secrets, "chatkit-backend": around.backend_secrets}
    programs = {name: pods.program(manifests, pod, name, secrets) for name, pod in owners.items()}
    with here.running(programs["gateway"], lambda: pods.is_ready(owners["gateway"], "gateway", here)):
        migrate(here, programs["migrate"])
        with here.running(programs["backend"], lambda: pods.is_ready(owners["backend"], "backend", here)):
            yield programs["gateway"]


@contextmanager
def serviced(folder: Path, around: Surroundings) -> Iterator[tuple[Machine, Program]]:
    """The two systemd units."""
    places = {
        **around.places,
        **ports("9090"),
        "/opt/chatkit/bin/": "",
        "/etc/chatkit": f"{folder}/etc",
        units.CREDENTIALS: f"{folder}/credentials",
    }
    with machine(folder, places) as here:
        gateway = units.program("chatkit-gateway.service", "ExecStart", around.gateway_secrets)
        with here.running(gateway, lambda: here.answers("/readyz", port="8080")):
            migrate(here, units.program("chatkit-backend.service", "ExecStartPre", around.backend_secrets))
            backend = units.program("chatkit-backend.service", "ExecStart", around.backend_secrets)
            with here.running(backend, lambda: here.answers("/readyz", port="9000")):
                yield here, gateway


Deployment = Callable[[Path, Surroundings], AbstractContextManager[tuple[Machine, Program]]]


@pytest.mark.parametrize("deployment", [composed, beside, apart, serviced])
def test_a_user_of_the_issuer_gets_an_answer(
    deployment: Deployment, tmp_path: Path, surroundings: Surroundings
) -> None:
    """Addresses, names, keys, secrets and the database fit together; `gateway check` finds nothing to mend."""
    with deployment(tmp_path, surroundings) as (here, gateway):
        url = f"http://127.0.0.1:{here.places['8080']}"
        said = answer_text(Browser(url=url, token=surroundings.issuer.token("alice")).say("Who am I?"))
        checked = here.run(gateway.instead("gateway", "check", *gateway.command[2:]))
        # Compose's gateway has no such listener: a Prometheus there would be one more service.
        measured = "9090" not in here.places or here.answers("/metrics", port="9090")

    assert "Alice" in said
    assert measured
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_the_demo_profile_lets_people_in_without_a_password(tmp_path: Path, surroundings: Surroundings) -> None:
    """The page, the sign-in and an answer, from nothing but what the demo profile starts."""
    secrets = {**surroundings.gateway_secrets, **surroundings.backend_secrets}
    numbers = ports("8081")
    places = {
        **numbers,
        "/etc/chatkit": f"{tmp_path}/etc",
        "/run/secrets": f"{tmp_path}/secrets",
        "http://backend:": "http://127.0.0.1:",
        "http://gateway:": "http://127.0.0.1:",
        "http://demo-issuer:": "http://127.0.0.1:",
        "0.0.0.0": "127.0.0.1",
    }
    with machine(tmp_path, places) as here:
        migrate(here, compose.program("migrate", secrets))
        with (
            # uvicorn by itself ends with the signal.
            here.running(
                compose.program("demo-issuer", {}), lambda: here.answers("/livez", port="8081"), status=-signal.SIGTERM
            ),
            here.running(compose.program("demo", secrets), lambda: here.passes(compose.health_of("demo"))),
            here.running(compose.program("backend", secrets), lambda: here.passes(compose.health_of("backend"))),
            httpx.Client(timeout=30, trust_env=False) as client,
        ):
            alice = Visitor(client, ports=Ports(gateway=int(numbers["8080"]), issuer=int(numbers["8081"]), backend=0))
            page = client.get(f"{alice.ports.gateway_url}/")
            alice.sign_in("alice")
            said = "".join(alice.ask(create_body("Who am I?")).texts())

    assert page.status_code == 200
    assert "Alice" in said


def ports(*more: str) -> dict[str, str]:
    return {port: str(free_port()) for port in ("8080", "9000", *more)}


def mounts(folder: Path) -> dict[str, str]:
    return {"/etc/chatkit": f"{folder}/etc", "/run/secrets": f"{folder}/secrets"}


def migrate(here: Machine, program: Program) -> None:
    done = here.run(program)
    assert done.returncode == 0, done.stderr
