"""A Compose file's services as programs: which are started, what each is given."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.deploy.files import COMPOSE, Json, document
from tests.deploy.machine import Program

FILE = COMPOSE / "compose.yaml"
Service = Mapping[str, Any]


def services() -> Mapping[str, Service]:
    found: Mapping[str, Service] = document(FILE)["services"]
    return found


def started(*profiles: str) -> set[str]:
    """Services that run with these profiles, or with those of `.env` where none is given."""
    active = profiles or tuple(variables()["COMPOSE_PROFILES"].split(","))
    return {name for name, service in services().items() if not service.get("profiles") or is_in(service, active)}


def is_in(service: Service, profiles: Sequence[str]) -> bool:
    return bool(set(profiles) & set(service["profiles"]))


def variables() -> dict[str, str]:
    """What `.env` sets."""
    lines = [line for line in (COMPOSE / ".env").read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def mounted_files(service: Service) -> dict[str, str]:
    """Paths in the container and the files of ours that are found there."""
    binds = [volume.split(":") for volume in service.get("volumes", []) if volume.startswith("./")]
    return {target: source for source, target, *_ in binds}


def program(name: str, secrets: Mapping[str, str]) -> Program:
    """A service, with these texts as its secrets."""
    service: Json = dict(services()[name])
    files = {target: (COMPOSE / source).read_text() for target, source in mounted_files(service).items()}
    files |= {f"/run/secrets/{secret}": secrets[secret] for secret in service.get("secrets", [])}
    return Program(name=name, command=service["command"], environment=service.get("environment", {}), files=files)


def health_of(name: str) -> list[str]:
    """The health check's command."""
    kind, *command = services()[name]["healthcheck"]["test"]
    assert kind == "CMD"
    return list(command)
