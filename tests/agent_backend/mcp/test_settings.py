"""[mcp.NAME]: what would show a token is refused at start, with what to write instead."""

from pathlib import Path
from typing import Any

import pytest

from agent_backend.mcp import ServerChoice
from agent_backend.mcp.settings import is_loopback
from agent_backend.settings_file import BadSettings, load_settings

GATEWAY = """
[gateway]
jwks_url = "http://127.0.0.1:1/jwks.json"
issuer = "gateway"
audience = "support"
"""


def load(folder: Path, toml: str) -> dict[str, ServerChoice]:
    path = folder / "agent.toml"
    path.write_text(GATEWAY + toml)
    return {name: table.choice(name) for name, table in load_settings(path).mcp.items()}


def test_a_name_and_a_url_are_enough(tmp_path: Path) -> None:
    """The identity then travels as a bearer token in the header."""
    choices = load(tmp_path, '[mcp.orders]\nurl = "https://orders.test/mcp"')

    assert choices == {"orders": ServerChoice(name="orders", url="https://orders.test/mcp")}
    assert (choices["orders"].identity, choices["orders"].header, choices["orders"].scheme) == (
        "header",
        "Authorization",
        "Bearer",
    )


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('url = "http://127.0.0.1:9/mcp"', {"url": "http://127.0.0.1:9/mcp"}),
        ('url = "http://orders/mcp"\nallow_http = true', {"url": "http://orders/mcp"}),
        ('url = "https://o.test/mcp"\nheader = "X-User-Token"\nscheme = ""', {"header": "X-User-Token", "scheme": ""}),
        (
            'url = "https://o.test/mcp"\nidentity = "meta"\nmeta = {"x.test/user" = "email"}',
            {"meta": {"x.test/user": "email"}},
        ),
        (
            'url = "https://o.test/mcp"\nidentity = "arguments"\narguments = {uid = "user_id"}',
            {"arguments": {"uid": "user_id"}},
        ),
        (
            'url = "https://o.test/mcp"\nidentity = "prompt"\nallow_prompt_credentials = true',
            {"identity": "prompt", "arguments": {"user_id": "user_id", "access_token": "access_token"}},
        ),
        (
            'url = "https://o.test/mcp"\ntools = ["a"]\nprefix = "o_"\nrequired = true',
            {"tools": ("a",), "required": True},
        ),
    ],
)
def test_what_may_be_set(tmp_path: Path, toml: str, expected: dict[str, Any]) -> None:
    """Each way of travelling has its own options."""
    choice = load(tmp_path, f"[mcp.orders]\n{toml}")["orders"]

    assert {name: getattr(choice, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("toml", "problem", "fix"),
    [
        ('[mcp.o]\nurl = "http://orders.test/mcp"', "http to orders.test shows users' tokens", "allow_http = true"),
        ('[mcp.o]\nurl = "https://me:secret@orders.test/mcp"', "no user or password in the url", "choose how"),
        (
            '[mcp.o]\nurl = "https://o.test/mcp"\nidentity = "prompt"',
            "gives each user's token to the model",
            "allow_prompt_credentials = true",
        ),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nidentity = "meta"\nheader = "X"', "header: of no use", "remove it"),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nallow_prompt_credentials = true', "of no use", "remove it"),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nheader = "Mcp-Session-Id"', "needs it for itself", "choose another"),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nheader = "Host"', "needs it for itself", "choose another"),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nidentity = "oauth"', "mcp.o.identity", "'header', 'meta'"),
        (
            '[mcp.o]\nurl = "https://o.test/mcp"\nidentity = "arguments"\narguments = {a = "ssn"}',
            "arguments.a",
            "'user_id'",
        ),
        ('[mcp.o]\nurl = "https://o.test/mcp"\nidentity = "arguments"\narguments = {}', "arguments", "at least 1"),
        ('[mcp.o]\nurl = "https://o.test/mcp"\ncall_timeout = 0', "call_timeout", "seconds for one call"),
        ('[mcp.o]\nulr = "https://o.test/mcp"', "mcp.o.ulr: no such key", "did you mean mcp.o.url?"),
        ('[mcp."two words"]\nurl = "https://o.test/mcp"', "two words", "[a-z]"),
    ],
)
def test_what_may_not_be_set(tmp_path: Path, toml: str, problem: str, fix: str) -> None:
    """Refused before anything is served, with what to do."""
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, toml)

    assert problem in str(refused.value)
    assert fix in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_environment_can_set_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of the file is changed, and another named; a misspelled option is refused."""
    monkeypatch.setenv("AGENT_BACKEND_MCP__ORDERS__TITLE", "Orders")
    monkeypatch.setenv("AGENT_BACKEND_MCP__STOCK__URL", "https://stock.test/mcp")
    choices = load(tmp_path, '[mcp.orders]\nurl = "https://orders.test/mcp"')

    assert [(name, choice.shown_name) for name, choice in choices.items()] == [("orders", "Orders"), ("stock", "stock")]

    monkeypatch.setenv("AGENT_BACKEND_MCP__STOCK__TITEL", "Stock")
    with pytest.raises(BadSettings, match="MCP__STOCK__TITEL: no such variable"):
        load(tmp_path, "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("orders.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_this_machine(host: str, expected: bool) -> None:
    """Only what never leaves it."""
    assert is_loopback(host) is expected
