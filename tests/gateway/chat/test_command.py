"""From arguments to an exit status. With real processes and a real gateway: `tests/together/test_chat_command.py`."""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.chat.arguments import add_chat_arguments
from gateway.chat.command import run_chat
from tests.gateway.chat.events import ANSWER, CREATED, QUESTION, failed, stream
from tests.support.servers import free_port, serve
from tests.support.tls import build_server_context


@pytest.fixture(autouse=True)
def no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in ("CHAT_TOKEN", "CHAT_COOKIE"):
        monkeypatch.delenv(name, raising=False)


class Server:
    """Answers every question alike and keeps what was asked."""

    def __init__(self) -> None:
        self.content = stream(*ANSWER)
        self.requests: list[tuple[Any, Any]] = []
        self.url = ""

    async def answer(self, request: Request) -> Response:
        self.requests.append((request.headers, await request.json()))
        if request.headers.get("authorization") == "Bearer wrong":
            return JSONResponse({"message": "You are not signed in."}, 401)
        return Response(self.content, media_type="text/event-stream", headers={"x-request-id": "req-1"})


@pytest.fixture(scope="module")
def listening() -> Iterator[Server]:
    server = Server()
    with serve(Starlette(routes=[Route("/chatkit", server.answer, methods=["POST"])])) as server.url:
        yield server


@pytest.fixture
def server(listening: Server) -> Server:
    listening.content = stream(*ANSWER)
    listening.requests.clear()
    return listening


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_chat_arguments(parser)
    return run_chat(parser.parse_args(arguments))


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_complete_answer_is_a_success(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer on standard output, the ids beside it; the cookie with the gateway's own origin."""
    monkeypatch.setenv("CHAT_COOKIE", "auth_token=a.b.c")
    code = run("--url", server.url, "Hello", "--metadata", '{"pageContext": {"path": "/"}}')
    headers, body = server.requests[0]

    assert (code, *capsys.readouterr()) == (0, "Hello\n", "[thread thr_1, request req-1]\n")
    assert (headers["cookie"], headers["origin"]) == ("auth_token=a.b.c", server.url)
    assert headers["user-agent"].startswith("gateway-chat/")
    assert body["metadata"] == {"pageContext": {"path": "/"}}


def test_a_token_needs_no_origin_but_may_have_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is named is named."""
    monkeypatch.setenv("CHAT_TOKEN", "a.b.c")
    run("--url", server.url, "Hello")
    run("--url", server.url, "Hello", "--origin", "https://app.example.com")

    assert [headers.get("origin") for headers, _ in server.requests] == [None, "https://app.example.com"]
    assert {headers["authorization"] for headers, _ in server.requests} == {"Bearer a.b.c"}


def test_the_question_may_come_from_standard_input(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for with a dash, or because there is nobody to ask; the last line end is the shell's."""
    for arguments in (("-",), ()):
        feed(monkeypatch, "two\nlines\n")
        assert run("--url", f"{server.url}/chatkit", *arguments) == 0

    texts = [body["params"]["input"]["content"][0]["text"] for _, body in server.requests]
    assert texts == ["two\nlines"] * 2


def test_a_thread_is_gone_on_with(server: Server) -> None:
    """By its id."""
    run("--url", server.url, "--thread", "thr_7", "Hello")

    assert server.requests[0][1]["params"]["thread_id"] == "thr_7"


def test_programs_get_the_events(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, and nothing else."""
    assert run("--url", server.url, "--json", "--quiet", "Hello") == 0
    out, err = capsys.readouterr()

    assert (len(out.splitlines()), err) == (len(ANSWER), "")


def test_a_failure_is_a_failure_although_the_status_was_200(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The stream says how it went; 1."""
    server.content = stream(CREATED, QUESTION, failed("The assistant is busy.", retry=True))

    assert run("--url", server.url, "--quiet", "Hello") == 1
    assert capsys.readouterr() == ("", "gateway chat: The assistant is busy.; it may be sent again\n")


def test_a_refusal_and_an_empty_address(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1, in one line; the token is in neither."""
    monkeypatch.setenv("CHAT_TOKEN", "wrong")
    nobody = f"http://127.0.0.1:{free_port()}"

    assert (run("--url", server.url, "Hello"), run("--url", nobody, "Hello")) == (1, 1)
    refused, unreachable = capsys.readouterr().err.splitlines()
    assert refused == "gateway chat: /chatkit answered 401: You are not signed in. (check the cookie or token)"
    assert unreachable.startswith(f"gateway chat: no connection to {nobody}: ")
    assert "wrong" not in refused + unreachable


def test_without_a_credential_it_is_tried_and_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The gateway decides; the way to one is named."""
    run("--url", server.url, "Hello")

    assert "no credential: --token-file, --cookie-file, CHAT_TOKEN or CHAT_COOKIE" in capsys.readouterr().err


def test_a_credential_that_others_could_read_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even when quiet. Inside a cluster it may be meant so: a warning, not a refusal."""
    monkeypatch.setenv("CHAT_TOKEN", "a.b.c")
    monkeypatch.setenv("NO_PROXY", "*")
    run("--url", "http://gateway.invalid/chatkit", "--quiet", "Hello")

    assert capsys.readouterr().err.startswith(
        "warning: http:// sends the credential to gateway.invalid readable by everybody on the way\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "chat.example.com", "Hello"), "give all of it, as https://chat.example.com/chatkit"),
        (("--url", "ftp://chat.example.com", "Hello"), "give all of it"),
        (("--url", "http://h:port/", "Hello"), "--url: "),
        (("--url", "https://me:pw@chat.example.com", "Hello"), "a password on the command line"),
        (("--url", "https://h.test", " \n"), "the question is empty"),
        (("--url", "https://h.test", "\udcff"), "the question is not UTF-8 text"),
        (("--url", "https://h.test", "--thread", "\udcff", "Hello"), "--thread is not UTF-8 text"),
        (("--url", "https://h.test", "x" * 1_000_001), "more than 1000000 characters"),
        (("--url", "https://h.test", "--token-file", "-"), "standard input holds the credential"),
        (("--url", "https://h.test", "--cookie-file", "-", "-"), "standard input holds the credential"),
        (("--url", "https://h.test", "--token-file", "/nowhere/token", "Hello"), "/nowhere/token: No such file"),
        (("--url", "https://h.test", "--ca-file", "/nowhere/ca", "Hello"), "--ca-file /nowhere/ca: "),
    ],
)
def test_arguments_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """2, in one line, before anything is sent."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()

    assert said in err
    assert (out, "pw" in err) == ("", False)


def test_what_is_no_text_or_no_proxy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A binary file as the question, a proxy of a kind nobody knows: said, without a traceback."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    binary = run("--url", "https://h.test", "-")
    monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://h.test")
    pigeon = run("--url", "https://h.test", "Hello")
    err = capsys.readouterr().err

    assert (binary, pigeon) == (2, 2)
    assert "the question is not utf-8 text" in err
    assert "the proxy in the environment (HTTPS_PROXY, ALL_PROXY) cannot be used: " in err


def test_an_authority_of_one_s_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An https gateway is believed with its authority, and without it not asked."""
    build_server_context(tmp_path)
    monkeypatch.setenv("CHAT_TOKEN", "a.b.c")
    app = Starlette(routes=[Route("/chatkit", server.answer, methods=["POST"])])
    with serve(app, ssl_certfile=str(tmp_path / "server.pem")) as address:
        url = address.replace("http:", "https:")
        strange = run("--url", url, "--quiet", "Hello")
        known = run("--url", url, "--quiet", "--ca-file", str(tmp_path / "ca.pem"), "Hello")

    assert (strange, known, len(server.requests)) == (1, 0, 1)
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
