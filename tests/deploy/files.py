"""The files of `deploy/`: which there are, and how they are read."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"
PROXIES = DEPLOY / "proxies"

# Seconds above the two drain times until a gateway has ended by itself: a second for its clients to take their last
# event, the server's own limit five seconds above ours, the interpreter's end.
MARGIN = 6.0

Json = dict[str, Any]


def toml(path: Path) -> Json:
    return tomllib.loads(path.read_text())


def documents(path: Path) -> list[Json]:
    """All documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def document(path: Path) -> Json:
    (only,) = documents(path)
    return only


def gateway_end(settings: Path) -> float:
    """Seconds from SIGTERM until a gateway with these settings has ended its last stream."""
    server = toml(settings)["server"]
    return float(server.get("drain_delay", 5)) + float(server.get("drain_timeout", 30))


def backend_end(settings: Path) -> float:
    """The same of an agent backend."""
    return float(toml(settings)["server"].get("drain_timeout", 25))


def seconds(text: str) -> float:
    """``45s``, as Compose, nginx, Caddy and Envoy write it."""
    assert text.endswith("s"), text
    return float(text[:-1])


def shipped() -> Iterator[Path]:
    """Every file that operators take from here; examples and monitoring have tests of their own."""
    for path in sorted(DEPLOY.rglob("*")):
        place = path.relative_to(DEPLOY).parts
        if path.is_file() and place[0] not in ("examples", "monitoring") and "secrets" not in place:
            yield path
