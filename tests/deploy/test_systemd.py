"""The units: what they may, what they see, when they are killed. `test_running` runs their commands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent_backend.settings_file import load_settings as load_backend_settings
from gateway.settings import load_settings
from tests.deploy import units
from tests.deploy.files import MARGIN, SYSTEMD, backend_end, gateway_end
from tests.deploy.machine import BIN

UNITS = ["chatkit-gateway.service", "chatkit-backend.service"]
HARDENED = {
    "CapabilityBoundingSet": "",
    "DynamicUser": "yes",
    "LimitCORE": "0",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProtectHome": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
# systemd's own measure, from 0 (nothing is left) to 10. Above 2 it no longer says "OK".
EXPOSURE = 2.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd judges its units")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name: str) -> None:
    """A user of its own while it runs, nothing it may write to but its state, no privilege and no way to one."""
    unit = units.read_unit(name)

    assert {key: units.only(unit, key) for key in HARDENED} == HARDENED
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged"]


@pytest.mark.parametrize("name", UNITS)
@needs_systemd
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    """No unknown setting, and a command that is there."""
    for unit in UNITS:
        text = (SYSTEMD / unit).read_text().replace("/opt/chatkit/bin", str(BIN))
        (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / name], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
@needs_systemd
def test_systemd_finds_little_exposed(name: str) -> None:
    """By its own measure."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(SYSTEMD / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert found is not None
    assert float(found[1]) < EXPOSURE


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("chatkit-gateway.service", gateway_end(SYSTEMD / "gateway.toml")),
        ("chatkit-backend.service", backend_end(SYSTEMD / "backend.toml")),
    ],
)
def test_nobody_is_killed_while_he_drains(name: str, end: float) -> None:
    """systemd's patience is above what the settings allow; wrong settings are not tried again and again."""
    unit = units.read_unit(name)

    assert float(units.only(unit, "TimeoutStopSec")) >= end + MARGIN
    assert (units.only(unit, "Restart"), units.only(unit, "RestartPreventExitStatus")) == ("on-failure", "2")


def test_the_gateway_is_stopped_before_the_backend() -> None:
    """Units are stopped in the opposite order of their start: the backend outlives the last stream."""
    assert "chatkit-backend.service" in units.only(units.read_unit("chatkit-gateway.service"), "After")


@pytest.mark.parametrize("name", UNITS)
def test_secrets_are_credentials(name: str) -> None:
    """No secret is in the unit or in a settings file, where every user of the machine may read it."""
    unit = units.read_unit(name)

    assert unit["LoadCredential"]
    assert any(text.endswith("_SECRETS_DIR=%d") for text in unit["Environment"])


def test_the_backend_trusts_this_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, audience and addresses are the same on both sides."""
    gateway = load_settings(SYSTEMD / "gateway.toml")
    backend = load_backend_settings(SYSTEMD / "backend.toml")

    assert (backend.gateway.issuer, backend.gateway.audience) == (gateway.public_url, "support")
    assert gateway.backends["support"].url == f"http://127.0.0.1:{backend.server.port}{backend.server.path}"
    assert backend.server.host == gateway.server.host == "127.0.0.1"
