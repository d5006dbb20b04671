"""The Compose file: who is reachable, who is started when, what ends in time. `test_running` starts it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from agent_backend.settings_file import load_settings as load_backend_settings
from gateway.settings import load_settings
from gateway.trust.signing_keys import load_signing_key
from tests.deploy import compose
from tests.deploy.files import COMPOSE, DEPLOY, MARGIN, backend_end, document, gateway_end, seconds

SERVICES = compose.services()
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "chatkit-gateway")


# Of the Compose specification, what we use: engines ignore a name that they do not know, some of them in silence.
KEYS = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "networks",
    "pids_limit",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "volumes",
}


def test_no_name_is_misspelled() -> None:
    """Neither a service's own keys nor those of its health check."""
    assert set().union(*SERVICES.values()) == KEYS
    assert {key for service in SERVICES.values() for key in service.get("healthcheck", {})} == {
        "test",
        "interval",
        "timeout",
        "start_period",
    }


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_no_more_than_they_need(name: str) -> None:
    """A read-only root, no capability, no way to gain one; the image itself runs as nobody."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []) if volume.startswith("."))


def test_the_image_is_built_by_our_dockerfile() -> None:
    """From the repository's root, which the steps copy from."""
    build = document(compose.FILE)["x-hardened"]["build"]

    assert (COMPOSE / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_only_the_gateway_is_published() -> None:
    """Neither backend nor database has a port on the machine, and the demo's are loopback's."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "gateway": ["${CHATKIT_ADDRESS:-127.0.0.1:8080}:8080"],
        "demo": ["127.0.0.1:8080:8080"],
        "demo-issuer": ["127.0.0.1:8081:8081"],
    }


def test_the_database_is_reached_from_the_backend_alone() -> None:
    """Its network leads nowhere else, and the gateway is not in it."""
    inside = {name for name, service in SERVICES.items() if "data" in service["networks"]}

    assert document(compose.FILE)["networks"]["data"] == {"internal": True}
    assert inside == {"db", "backend", "migrate"}


def test_the_demo_is_started_by_its_profile_alone() -> None:
    """`docker compose up` is the product; `--profile demo` puts the sign-in page in its place, and never both."""
    common = {"db", "migrate", "backend"}

    assert compose.started() == {*common, "gateway"}
    assert compose.started("demo") == {*common, "demo", "demo-issuer"}


def test_services_are_stopped_after_those_who_need_them() -> None:
    """Compose stops in the opposite order of its dependencies: the backend outlives the last stream."""
    needs = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}

    assert needs["gateway"] == {"backend"}
    assert needs["demo"] == {"backend", "demo-issuer"}
    assert needs["backend"] == {"db", "migrate"}


def test_nobody_waits_for_one_who_waits_for_him() -> None:
    """The backend is healthy once it has the gateway's keys: the gateway must not wait for that."""
    assert SERVICES["gateway"]["depends_on"]["backend"]["condition"] == "service_started"
    assert SERVICES["demo"]["depends_on"]["backend"]["condition"] == "service_started"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("gateway", gateway_end(COMPOSE / "gateway.toml")),
        ("demo", gateway_end(COMPOSE / "demo/gateway.toml")),
        ("backend", backend_end(COMPOSE / "backend.toml")),
    ],
)
def test_nobody_is_killed_while_he_drains(name: str, end: float) -> None:
    """The engine's patience is above what the settings allow."""
    assert seconds(SERVICES[name]["stop_grace_period"]) >= end + MARGIN


def test_files_and_secrets_are_there() -> None:
    """What is mounted exists here; what is a secret is made by the script."""
    mounted = {COMPOSE / source for name in OURS for source in compose.mounted_files(SERVICES[name]).values()}
    known = document(compose.FILE)["secrets"]

    assert [path for path in mounted if not path.is_file()] == []
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", [])} == set(known)
    assert {entry["file"] for entry in known.values()} == {f"./secrets/{name}" for name in known}


def test_the_script_makes_every_secret_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that signs, and a database address with the database's password; again, it changes none of them."""
    script = shutil.copy2(COMPOSE / "secrets.sh", tmp_path)
    texts = []
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True)
        texts.append({file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()})
    made, again = texts
    monkeypatch.setenv("AGENT_BACKEND_SECRETS_DIR", str(tmp_path / "secrets"))
    database = load_backend_settings(COMPOSE / "backend.toml").database

    assert made == again
    assert set(made) == set(document(compose.FILE)["secrets"])
    load_signing_key(tmp_path / "secrets/signing.pem")
    assert database.url.get_secret_value() == f"postgresql://agent:{made['database_password'].strip()}@db/agent"


def test_secrets_are_read_by_the_container_and_by_nobody_else_here(tmp_path: Path) -> None:
    """Its user has no account on the machine, so the files are open, and the folder is not."""
    subprocess.run([shutil.copy2(COMPOSE / "secrets.sh", tmp_path)], check=True, capture_output=True)
    folder = tmp_path / "secrets"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    assert "secrets/" in (COMPOSE / ".gitignore").read_text()


@pytest.mark.parametrize("file", ["gateway.toml", "demo/gateway.toml"])
def test_the_backend_trusts_this_gateway(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and audience are the same on both sides, whichever gateway is started."""
    (tmp_path / "signing.pem").touch()
    monkeypatch.setenv("GATEWAY_TRUST__SIGNING_KEYS", f'["{tmp_path}/signing.pem"]')
    gateway = load_settings(COMPOSE / file)
    backend = load_backend_settings(COMPOSE / "backend.toml")

    assert (backend.gateway.issuer, backend.gateway.audience) == (gateway.trust.issuer, "support")
    assert gateway.backends["support"].url == f"http://backend:{backend.server.port}{backend.server.path}"
    assert str(backend.gateway.jwks_url) == f"http://gateway:{gateway.server.port}/.well-known/jwks.json"
