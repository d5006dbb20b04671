"""The settings: one file, the environment over it, and every problem at once."""

from pathlib import Path

import pytest

from agent_backend.settings import Settings
from agent_backend.settings_file import BadSettings, load_settings

SMALLEST = """
[gateway]
jwks_url = "http://127.0.0.1:8080/.well-known/jwks.json"
issuer = "gateway"
audience = "support"
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own variables decide nothing here."""
    monkeypatch.delenv("DATABASE_URL", raising=False)


def load(folder: Path, text: str = SMALLEST) -> Settings:
    file = folder / "agent.toml"
    file.write_text(text)
    return load_settings(file)


def problems(folder: Path, text: str = SMALLEST) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        load(folder, text)
    return bad.value.problems


def test_the_smallest_file_serves(tmp_path: Path) -> None:
    """Whom to trust must be said; everything else has a safe default."""
    settings = load(tmp_path)

    assert (settings.server.host, settings.server.port, settings.server.path) == ("127.0.0.1", 9000, "/chatkit")
    assert settings.database.url.get_secret_value() == "sqlite:///agent.sqlite3"
    assert (settings.model.provider, settings.tracing.export) == ("offline", False)


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One value at a time; the rest of its table stays."""
    monkeypatch.setenv("AGENT_BACKEND_SERVER__PORT", "9001")
    monkeypatch.setenv("AGENT_BACKEND_MODEL__API_KEY", "k-1")

    settings = load(tmp_path, f'[server]\nport = 9002\nhost = "0.0.0.0"\n{SMALLEST}')

    assert (settings.server.port, settings.server.host) == (9001, "0.0.0.0")
    assert settings.model.api_key is not None
    assert settings.model.api_key.get_secret_value() == "k-1"
    assert "k-1" not in repr(settings)


def test_everything_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container needs no file."""
    monkeypatch.setenv("AGENT_BACKEND_GATEWAY__JWKS_URL", "http://gateway/jwks.json")
    monkeypatch.setenv("AGENT_BACKEND_GATEWAY__ISSUER", "gateway")
    monkeypatch.setenv("AGENT_BACKEND_GATEWAY__AUDIENCE", "support")

    assert load_settings(None).gateway.audience == "support"


@pytest.mark.parametrize(
    ("file", "variable", "expected"),
    [
        ("", None, "postgres://u:p@db/shared"),
        ('[database]\nurl = "sqlite:///own.sqlite3"\n', None, "sqlite:///own.sqlite3"),
        ("", "sqlite:///var.sqlite3", "sqlite:///var.sqlite3"),
    ],
)
def test_database_url_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, variable: str | None, expected: str
) -> None:
    """What most platforms set is used where nothing was said to us in particular."""
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@db/shared")
    if variable:
        monkeypatch.setenv("AGENT_BACKEND_DATABASE__URL", variable)

    assert load(tmp_path, file + SMALLEST).database.url.get_secret_value() == expected


def test_all_problems_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names its place, what is wrong and what to write; none repeats a value."""
    monkeypatch.setenv("AGENT_BACKEND_SERVER__PROT", "9001")

    found = problems(
        tmp_path,
        """
        [server]
        port = 99999
        hots = "0.0.0.0"
        path = "chatkit"
        [sever]
        [database]
        url = "mysql://root:hunter2@db/chat"
        [model]
        provider = "openai"
        api_key = "hunter3"
        """,
    )

    assert found == [
        "server.port: Input should be less than or equal to 65535 (a free port from 1 to 65535; 0 picks one)",
        "server.path: a path starts with / and is not one of /livez, /readyz (the path of the ChatKit endpoint)",
        "server.hots: no such key; did you mean server.host?",
        "database.url: mysql is not supported; use sqlite:/// or postgresql:// "
        "(sqlite:///file or postgresql://user:password@host/name)",
        "gateway: Field required (write [gateway] with jwks_url, issuer, audience)",
        'model: provider "openai" needs a name: which model to ask',
        "sever: no such key; did you mean server?",
        "AGENT_BACKEND_SERVER__PROT: no such variable; did you mean AGENT_BACKEND_SERVER__PORT?",
    ]
    assert "hunter" not in "".join(found)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Not there, or not TOML: one line says so."""
    with pytest.raises(BadSettings, match="No such file"):
        load_settings(tmp_path / "none.toml")
    assert "not TOML" in problems(tmp_path, "[server")[0]


def test_a_database_in_no_folder_is_a_problem(tmp_path: Path) -> None:
    """SQLite would say that it cannot open the file, and not why."""
    text = f'[database]\nurl = "sqlite:///{tmp_path}/none/agent.sqlite3"\n{SMALLEST}'

    assert problems(tmp_path, text)[0].startswith(f"database.url: there is no folder {tmp_path}/none; make it first")


def test_a_table_in_one_variable_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole tables as text are not understood, and not ignored."""
    monkeypatch.setenv("AGENT_BACKEND_SERVER", "9001")

    assert any("AGENT_BACKEND_SERVER" in problem for problem in problems(tmp_path))


def test_the_agent_can_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other value; what is no name says how to write one, and does not need to be loaded for that."""
    monkeypatch.setenv("AGENT_BACKEND_AGENT", "shop.agent:build_agent")
    assert load(tmp_path).agent == "shop.agent:build_agent"

    monkeypatch.setenv("AGENT_BACKEND_AGENT", "shop/agent.py")
    assert problems(tmp_path) == [
        "agent: 'shop/agent.py' is no name of a function; write it as package.module:function "
        '(who answers: "package.module:function", called once per answer)'
    ]
