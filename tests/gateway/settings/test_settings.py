"""Loading: the file, the environment, the secrets; everything that is wrong at once."""

from pathlib import Path

import pytest

from gateway.settings import SettingsError, load_settings
from tests.gateway.settings.files import SMALLEST, problems, write

KNOWN = (
    "GATEWAY_BACKENDS, GATEWAY_ISSUERS, GATEWAY_LOG, GATEWAY_METRICS, GATEWAY_ROUTES, GATEWAY_SERVER, "
    "GATEWAY_SIGNED_URLS, GATEWAY_TRACING, GATEWAY_TRUST"
)
UNKNOWN = f"unknown variable; settings are {KNOWN}, each followed by __ and a name"


def test_the_smallest_file_loads_with_defaults(tmp_path: Path) -> None:
    """What is not said has a safe default."""
    settings = load_settings(write(tmp_path, SMALLEST))
    route, issuer = settings.routes["support"], settings.issuers["main"]

    assert settings.public_url == "https://chat.example.com"
    assert (settings.server.max_head, settings.server.drain_delay, settings.log.format) == (32768, 5, "json")
    assert (route.bearer, route.forward_token, route.issuers, route.operations) == (True, True, None, None)
    assert (issuer.algorithms, issuer.leeway, issuer.claims.subject) == (["RS256"], 30, "sub")
    assert settings.backends["support"].audience is None


def test_all_problems_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file and of the environment, each with its fix."""
    monkeypatch.setenv("GATEWAY_SERVERS__PORT", "1")
    text = SMALLEST.replace("port = 8080", 'port = 99999\nprot = 1\ndrain_delay = "soon"')
    text = text.replace('audiences = ["chat"]', "").replace('backend = "support"', "")

    assert problems(tmp_path, text) == [
        f"GATEWAY_SERVERS__PORT: {UNKNOWN}",
        "server.port: Input should be less than or equal to 65535 (is 99999)",
        "server.drain_delay: Input should be a valid number, unable to parse string as a number (is 'soon')",
        "server.prot: unknown setting; check the spelling, or remove it",
        "issuers.main.audiences: is missing; without it every token of this issuer would open the chat, whatever it "
        "was made for: list the aud of yours, such as the client id (gateway explain shows it)",
        "routes.support.backend: is missing; it must be set",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server", "{path}: not TOML: Expected ']' at the end of a table declaration (at end of document)"),
        ("a = 1\na = 2", "{path}: not TOML: Cannot overwrite a value (at end of document)"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, text: str, expected: str) -> None:
    """The parser's place is handed on."""
    assert problems(tmp_path, text) == [expected.format(path=tmp_path / "gateway.toml")]


def test_no_file(tmp_path: Path) -> None:
    """The message says how to name one."""
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "none.toml")
    with pytest.raises(SettingsError) as empty:
        load_settings(None)

    how = "name a settings file with --settings FILE or GATEWAY_SETTINGS"

    assert caught.value.problems == [f"{tmp_path}/none.toml: No such file or directory; {how}"]
    assert str(caught.value) == caught.value.problems[0]
    assert empty.value.problems == [
        f"{name}: is missing; set it, or {how}" for name in ("issuers", "backends", "routes")
    ]


def test_the_environment_overrides_any_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested values, lists as JSON; the rest of the table stays."""
    monkeypatch.setenv("GATEWAY_BACKENDS__SUPPORT__URL", "http://agent:9000/chatkit")
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "9999")
    monkeypatch.setenv("GATEWAY_ROUTES__SUPPORT__BEARER", "false")
    monkeypatch.setenv("GATEWAY_ISSUERS__MAIN__AUDIENCES", '["a", "b"]')
    settings = load_settings(write(tmp_path, SMALLEST))

    assert settings.backends["support"].url == "http://agent:9000/chatkit"
    assert (settings.server.port, settings.server.public_url) == (9999, "https://chat.example.com")
    assert (settings.routes["support"].bearer, settings.routes["support"].cookie) == (False, "auth_token")
    assert settings.issuers["main"].audiences == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GATEWAY_PROT", "1", f"GATEWAY_PROT: {UNKNOWN}"),
        ("gateway_prot", "1", f"gateway_prot: {UNKNOWN}"),
        ("GATEWAY_PORT", "8080", f"GATEWAY_PORT: {UNKNOWN}"),
        ("GATEWAY_SERVER__PROT", "1", "server.prot: unknown setting; check the spelling, or remove it"),
        (
            "GATEWAY_ISSUERS__MAIN__AUDIENCES",
            "a,b",
            "issuers.main.audiences: must be a list (is 'a,b'); in the environment as JSON: "
            """GATEWAY_ISSUERS__MAIN__AUDIENCES='["a", "b"]'""",
        ),
        (
            "GATEWAY_ISSUERS",
            "{",
            """issuers: must be a dict (is '{'); in the environment as JSON: GATEWAY_ISSUERS='{"name": "value"}'""",
        ),
    ],
)
def test_a_wrong_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """Never ignored, never a traceback."""
    monkeypatch.setenv(name, value)

    assert problems(tmp_path, SMALLEST) == [expected]


def test_a_kubernetes_service_of_our_name_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes adds these to every pod of the namespace; refusing them would keep every gateway down."""
    for service in ("GATEWAY", "GATEWAY_SERVER_EU"):
        for suffix in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"):
            monkeypatch.setenv(f"{service}_{suffix}", "tcp://10.0.0.1:80")

    assert problems(tmp_path, SMALLEST) == []
