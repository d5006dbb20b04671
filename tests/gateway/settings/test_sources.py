"""The secrets directory, as systemd and Kubernetes make it."""

from pathlib import Path

import pytest

from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, problems, write
from tests.gateway.settings.test_settings import UNKNOWN


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that GATEWAY_SECRETS_DIR names."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(folder))
    return folder


def test_precedence(tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment over secrets over file; a trailing line break is no part of a secret."""
    (secrets / "gateway_backends__support__url").write_text("http://secret/chatkit\n")
    (secrets / "GATEWAY_TRUST__ISSUER").write_text("https://secret")
    (secrets / "gateway_server__port").write_text("1111")
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "2222")
    settings = load_settings(write(tmp_path, SMALLEST))

    assert settings.backends["support"].url == "http://secret/chatkit"
    assert (settings.trust.issuer, settings.server.port) == ("https://secret", 2222)


def test_a_kubernetes_volume(tmp_path: Path, secrets: Path) -> None:
    """The files are links through ..data to a directory with a time in its name."""
    real = secrets / "..2026_01_01"
    real.mkdir()
    (real / "gateway_server__port").write_text("1111")
    (secrets / "..data").symlink_to("..2026_01_01")
    (secrets / "gateway_server__port").symlink_to("..data/gateway_server__port")

    assert load_settings(write(tmp_path, SMALLEST)).server.port == 1111


def test_other_peoples_files_are_left_alone(tmp_path: Path, secrets: Path) -> None:
    """Keys, certificates, directories: not read, whatever their size and content, and no mistake."""
    (secrets / "tls.key").write_bytes(b"\xff\xfe\x00")
    (secrets / "database_password").write_text("secret")
    (secrets / "url").write_text("secret")
    (secrets / "server__port").write_text("1111")
    (secrets / "gateway_directory").mkdir()
    with (secrets / "huge").open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    assert load_settings(write(tmp_path, SMALLEST)).server.port == 8080


def test_a_wrong_secret_is_named(tmp_path: Path, secrets: Path) -> None:
    """An unknown name of ours, a value that is no text."""
    (secrets / "gateway_prot").write_text("1")
    (secrets / "gateway_server__port").write_bytes(b"\xff")

    assert problems(tmp_path, SMALLEST) == [
        f"{secrets}/gateway_server__port: not UTF-8 text; a secret is the value alone",
        f"{secrets}/gateway_prot: {UNKNOWN}",
    ]


def test_a_secret_list_that_is_no_json(tmp_path: Path, secrets: Path) -> None:
    """The same words as for a variable."""
    (secrets / "gateway_issuers__main__audiences").write_text("a,b")
    (found,) = problems(tmp_path, SMALLEST)

    assert found.startswith("issuers.main.audiences: must be a list (is 'a,b'); in the environment as JSON: ")


def test_a_directory_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, or a file: said, not warned about."""
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", "/none")

    assert problems(tmp_path, SMALLEST) == [
        "GATEWAY_SECRETS_DIR: no directory /none; mount it, or unset GATEWAY_SECRETS_DIR"
    ]
