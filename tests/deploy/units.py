"""A systemd unit as a program: its command, variables and credentials."""

import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.deploy.files import SYSTEMD
from tests.deploy.machine import Program

# Where systemd puts credentials and state; `%d` and `%S` stand for them in a unit.
CREDENTIALS = "/run/credentials"
STATE = "/var/lib"

Unit = Mapping[str, list[str]]


def read_unit(name: str) -> Unit:
    """All values of each setting, over all sections. No line of ours goes on in the next."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (SYSTEMD / name).read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith(("#", "[")):
            found[key].append(value)
    return found


def only(unit: Unit, key: str) -> str:
    (value,) = unit[key]
    return value


def program(name: str, key: str, credentials: Mapping[str, str]) -> Program:
    """The unit's ``ExecStart`` or ``ExecStartPre``, with these texts as credentials."""
    unit = read_unit(name)
    settings = SYSTEMD / f"{name.removeprefix('chatkit-').removesuffix('.service')}.toml"
    command = [resolve(part) for part in shlex.split(only(unit, key))]
    variables = [shlex.split(resolve(text)) for text in unit["Environment"]]
    environment = dict(pair.split("=", 1) for (pair,) in variables)
    loaded = [entry.split(":")[0] for entry in unit["LoadCredential"]]
    files = {f"{CREDENTIALS}/{entry}": credentials[entry] for entry in loaded}
    return Program(
        name=Path(name).stem,
        command=command,
        environment=environment,
        files={f"/etc/chatkit/{settings.name}": settings.read_text(), **files},
    )


def resolve(text: str) -> str:
    return text.replace("%d", CREDENTIALS).replace("%S", STATE)
