"""Settings from a directory of secrets: which files count, what goes before what, and what is told."""

from pathlib import Path

import pytest

from agent_backend.settings import Settings
from agent_backend.settings_file import BadSettings, load_settings

FILE = """
[gateway]
jwks_url = "http://127.0.0.1:8080/.well-known/jwks.json"
issuer = "gateway"
audience = "support"
[model]
api_key = "from the file"
"""


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the environment names; the machine's own variables decide nothing."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("AGENT_BACKEND_SECRETS_DIR", str(tmp_path / "secrets"))
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


def load(folder: Path) -> Settings:
    file = folder / "agent.toml"
    file.write_text(FILE)
    return load_settings(file)


def problems(folder: Path) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        load(folder)
    return bad.value.problems


def api_key(settings: Settings) -> str:
    assert settings.model.api_key is not None
    return settings.model.api_key.get_secret_value()


def test_a_secret_goes_before_the_file(tmp_path: Path, secrets: Path) -> None:
    """One value at a time, without the line break that editors add; lists are JSON, as in a variable."""
    (secrets / "agent_backend_model__api_key").write_text("from a secret\n")
    (secrets / "AGENT_BACKEND_DATABASE__URL").write_text("postgresql://agent:secret@db/agent")
    (secrets / "agent_backend_attachments__url_keys").write_text('["%s"]' % ("k" * 32))

    settings = load(tmp_path)

    assert api_key(settings) == "from a secret"
    assert settings.database.url.get_secret_value() == "postgresql://agent:secret@db/agent"
    assert [key.get_secret_value() for key in settings.attachments.url_keys] == ["k" * 32]


def test_a_variable_goes_before_a_secret(tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets one by hand means it."""
    (secrets / "agent_backend_model__api_key").write_text("from a secret")
    monkeypatch.setenv("AGENT_BACKEND_MODEL__API_KEY", "from a variable")

    assert api_key(load(tmp_path)) == "from a variable"


def test_a_secret_goes_before_database_url(tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`DATABASE_URL` stands in where nothing was said to us in particular."""
    (secrets / "agent_backend_database__url").write_text("postgresql://agent@db/ours")
    monkeypatch.setenv("DATABASE_URL", "postgresql://agent@db/shared")

    assert load(tmp_path).database.url.get_secret_value() == "postgresql://agent@db/ours"


def test_somebody_elses_files_are_not_opened(tmp_path: Path, secrets: Path) -> None:
    """Keys, certificates and what Kubernetes keeps there are no settings."""
    (secrets / "..data").mkdir()
    (secrets / "tls.key").write_bytes(b"\xff\xfe")
    (secrets / "agent_backend_notes").mkdir()

    assert api_key(load(tmp_path)) == "from the file"


def test_a_secret_that_sets_nothing_is_a_problem(tmp_path: Path, secrets: Path) -> None:
    """Misspelled, a secret would be missing in silence."""
    (secrets / "agent_backend_model__apikey").write_text("hunter2")

    assert problems(tmp_path) == [
        "agent_backend_model__apikey: no such variable; did you mean AGENT_BACKEND_MODEL__API_KEY?"
    ]


def test_a_secret_that_is_no_text_is_a_problem(tmp_path: Path, secrets: Path) -> None:
    """It is told by its path, and nothing of it is repeated."""
    (secrets / "agent_backend_model__api_key").write_bytes(b"\xff\xfe")

    assert problems(tmp_path) == [
        f"{secrets}/agent_backend_model__api_key: not UTF-8 text; a secret is the value alone"
    ]


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path, secrets: Path) -> None:
    """Not mounted: the process ends at once, rather than with the first user."""
    secrets.rmdir()

    assert problems(tmp_path) == [
        f"AGENT_BACKEND_SECRETS_DIR: no directory {secrets}; mount it, or unset AGENT_BACKEND_SECRETS_DIR"
    ]
