"""`gateway demo`: what it says before, when and after it runs."""

import json
import shlex
import socket
from pathlib import Path

import pytest

from gateway.demo import run_demo
from gateway.demo.ports import free_ports, ports_from
from gateway.demo.run import curl_line, invitation
from gateway.demo.state import State


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, the port, the fix, and not even a state directory left behind."""
    port = free_ports().gateway
    with socket.create_server(("127.0.0.1", port)):
        status = run_demo(port, tmp_path / ".demo")

    assert status == 1
    assert capsys.readouterr().err.startswith(f"Port {port} (gateway) is already in use.\nTry: make demo PORT=")
    assert not (tmp_path / ".demo").exists()


def test_the_invitation_says_where_who_and_how(tmp_path: Path) -> None:
    """The page, the people, one line to paste, and how to stop."""
    text = invitation(State(directory=tmp_path), ports_from(8080))

    assert "    http://127.0.0.1:8080/\n" in text
    assert "    carol   Carol Admin     user, admin\n" in text
    assert f"\n{curl_line(ports_from(8080), tmp_path / 'cookies.txt')}\n" in text
    assert "Ctrl-C" in text


def test_the_line_to_paste_is_one_line_and_survives_any_path() -> None:
    """Quotes and spaces in the directory's name do not break it, and the body is a ChatKit request."""
    jar = Path("/home/it's me/.demo/cookies.txt")
    line = curl_line(ports_from(8080), jar)
    words = shlex.split(line)

    assert "\n" not in line
    assert words.count(str(jar)) == 2
    assert words[words.index("Origin: http://127.0.0.1:8080") - 1] == "-H"
    assert json.loads(words[-2])["type"] == "threads.create"
    assert words[-1] == "http://127.0.0.1:8080/chatkit"
