"""The demo's three processes."""

from pathlib import Path

from gateway.demo.ports import ports_from
from gateway.demo.stack import build_parts, child_environment
from gateway.demo.state import State


def test_every_part_runs_on_the_leash(tmp_path: Path) -> None:
    """None of the three outlives the supervisor, and each has a log of its own."""
    parts = build_parts(State(directory=tmp_path), ports_from(8080))

    assert [(part.name, part.command[1:4]) for part in parts] == [
        ("issuer", ["-m", "gateway.demo.leash", "gateway.demo.issuer"]),
        ("agent backend", ["-m", "gateway.demo.leash", "agent_backend"]),
        ("gateway", ["-m", "gateway.demo.leash", "gateway.demo.serving"]),
    ]
    assert len({part.log for part in parts}) == 3


def test_the_callers_settings_do_not_leak_into_the_demo() -> None:
    """Only the model may be chosen from outside; loopback never goes through a proxy."""
    caller = {
        "PATH": "/bin",
        "GATEWAY_SERVER__PORT": "1",
        "AGENT_BACKEND_DATABASE__URL": "postgresql://production",
        "AGENT_BACKEND_MODEL__PROVIDER": "openai",
        "HTTP_PROXY": "http://proxy:3128",
        "no_proxy": "internal",
    }

    assert child_environment(caller) == {
        "PATH": "/bin",
        "AGENT_BACKEND_MODEL__PROVIDER": "openai",
        "HTTP_PROXY": "http://proxy:3128",
        "NO_PROXY": "internal,127.0.0.1",
        "no_proxy": "internal,127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
