"""The command line."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import __version__
from gateway.__main__ import main
from tests.gateway.settings.files import SMALLEST, write
from tests.support.issuer import Issuer
from tests.support.raw import connected, request


def serving_text(folder: Path, *, port: int = 0) -> str:
    """Settings that need nobody else: the issuer's keys are in a file."""
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps(Issuer().jwks()))
    text = SMALLEST.replace('jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{jwks}"')
    return text.replace("port = 8080", f"port = {port}\ndrain_delay = 0.6\ndrain_timeout = 2")


@contextmanager
def serving(path: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The real process; gives its ready line too."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--settings", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline()
        finally:
            child.kill()


def test_serve_until_a_signal(tmp_path: Path) -> None:
    """One line when ready; probes; not ready but still there after SIGTERM; exit 0, and every log line is JSON."""
    with serving(write(tmp_path, serving_text(tmp_path))) as (child, ready):
        port = int(ready.partition("127.0.0.1:")[2].partition(" ")[0])
        statuses = []
        with connected(port) as client:
            for path in ("/livez", "/readyz", "/.well-known/jwks.json", "/session", "/chatkit", "/nothing"):
                client.send(request(path, "Cookie: auth_token=eyJ.secret.token"))
                statuses.append(client.read_answer().status)
        child.send_signal(signal.SIGTERM)
        while True:
            with connected(port) as client:
                client.send(request("/readyz"))
                late = client.read_answer()
            if late.status != 200:
                break
        code = child.wait(10)
        assert child.stderr is not None
        log = child.stderr.read()

    assert ready == f"gateway ready on http://127.0.0.1:{port} (/chatkit to support)\n"
    assert statuses == [200, 200, 200, 401, 405, 404]
    assert (late.status, late.json()["reasons"], code) == (503, ["draining"], 0)
    assert "secret" not in log
    assert {json.loads(line)["level"] for line in log.splitlines()} <= {"info", "warning"}


def test_refusals_and_errors_look_alike_from_outside(tmp_path: Path) -> None:
    """The same media type and members, whether the parser, the router or the endpoint refuses."""
    with serving(write(tmp_path, serving_text(tmp_path))) as (_, ready):
        port = int(ready.partition("127.0.0.1:")[2].partition(" ")[0])
        answers = []
        for data in (b"\x00\r\n\r\n", request("/nothing"), request("/livez", method="POST"), request("/../x")):
            with connected(port) as client:
                client.send(data)
                answers.append(client.read_answer())
        with connected(port) as client:
            client.send(request("/session", "Origin: https://app.example.com"))
            session = client.read_answer()

    assert [(answer.status, answer.json()["code"]) for answer in answers] == [
        (400, "malformed_request"),
        (404, "route_not_found"),
        (405, "method_not_allowed"),
        (400, "malformed_path"),
    ]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert answers[2].headers["allow"] == "GET, HEAD"
    assert (session.status, session.headers["www-authenticate"]) == (401, "Bearer")
    assert session.headers["access-control-allow-origin"] == "https://app.example.com"


def test_a_taken_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the address and the fix; 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "gateway",
                "serve",
                "--settings",
                write(tmp_path, serving_text(tmp_path, port=port)),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"gateway: cannot serve: 127.0.0.1:{port}: Address already in use; stop what listens there, or set server.port"
    )


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("GATEWAY_SERVER__HOST", "192.0.2.1", "this machine has no such address: set server.host"),
        ("GATEWAY_SERVER__HOST", "no such host", "set server.host to an address of this machine"),
        ("GATEWAY_TRUST__SIGNING_KEYS", '["{folder}/jwks.json"]', "not an unencrypted PEM private key; gateway check"),
    ],
)
def test_other_reasons_not_to_serve(tmp_path: Path, variable: str, value: str, fix: str) -> None:
    """Each with its own fix: "stop what listens there" helps nobody whose key is wrong."""
    text = serving_text(tmp_path)
    environment = {variable: value.format(folder=tmp_path)}
    with serving(write(tmp_path, text), **environment) as (child, ready):
        code = child.wait(10)
        assert child.stderr is not None
        last = child.stderr.read().splitlines()[-1]

    assert (code, ready) == (1, "")
    assert last.startswith("gateway: cannot serve: ")
    assert fix in last


@pytest.mark.parametrize("command", ["serve", "check", "show"])
def test_wrong_settings_are_all_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """On standard error; 2."""
    path = write(tmp_path, SMALLEST.replace("port = 8080", "prot = 1\nport = -1"))
    code = main([command, "--settings", str(path)])

    assert (code, capsys.readouterr()) == (
        2,
        (
            "",
            "gateway: 2 problem(s) in the settings:\n"
            "  server.port: Input should be greater than or equal to 0 (is -1)\n"
            "  server.prot: unknown setting; check the spelling, or remove it\n",
        ),
    )


def test_the_settings_file_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As containers like it; `show` prints what is in force."""
    monkeypatch.setenv("GATEWAY_SETTINGS", str(write(tmp_path, SMALLEST)))
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "1234")

    assert main(["show"]) == 0
    assert "port = 1234" in capsys.readouterr().out.splitlines()


def test_check_says_what_does_not_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for settings that are well-formed but name what is not there."""
    text = serving_text(tmp_path).replace("http://127.0.0.1:9000/chatkit", "http://127.0.0.1:1/chatkit")

    assert main(["check", "--settings", str(write(tmp_path, text))]) == 1
    assert "FAIL  backend support" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "serve until a signal"),
        (["serve", "--help"], 0, "TOML file; default: GATEWAY_SETTINGS"),
        (["chat", "--help"], 0, "Exit codes: 0 the answer is"),
        (["--version"], 0, f"gateway {__version__}"),
        ([], 2, "required: command"),
        (["sing"], 2, "invalid choice: 'sing'"),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str) -> None:
    """Whoever types half a command is told the other half."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()

    assert caught.value.code == code
    assert said in out + err
