"""The demo as people start it: one command, three processes, real sockets."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.chat.bodies import create_body
from gateway.demo.ports import Ports
from gateway.demo.supervisor import answers_ok
from gateway.demo.talk import Visitor
from tests.support.demo import DEMO, ROOT, demo, free_range, visitor

# Seconds. Three interpreters start on a busy machine.
TIMEOUT = 90


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """One demo for whoever does not start or stop it."""
    ports = free_range()
    with demo(ports, tmp_path_factory.mktemp("demo")):
        yield ports


def test_one_question_without_a_browser(tmp_path: Path) -> None:
    """`--say` prints the answer and one line per hop, exits with 0 and leaves nothing behind."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*DEMO, "--say", "Who am I, and what page am I on?"]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    answer, _, hops = result.stdout.rpartition("\n\n")

    assert (result.returncode, result.stderr) == (0, "")
    assert answer.strip()
    assert re.fullmatch(
        r"gateway: user=Alice Example \(alice@example\.test\) operation=threads\.create "
        r"first_byte=\d+\.\d ms status=200\n"
        r"backend: thread=thr_\w+ items=\d+.*\n",
        hops,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_conversation_survives_a_restart_and_ctrl_c_is_no_failure(tmp_path: Path) -> None:
    """What alice said before the restart is hers after it, and nobody else's; the processes are gone in between."""
    ports = free_range()
    with demo(ports, tmp_path), visitor(ports, "alice") as alice:
        turn = alice.ask(create_body("Remember the lighthouse."))
        answer = "".join(turn.texts())
    assert answer
    assert not answers_ok(f"{ports.gateway_url}/livez")

    with demo(ports, tmp_path), visitor(ports, "alice") as alice, visitor(ports, "bob") as bob:
        hers = get_thread(alice, turn.thread_id)
        his = get_thread(bob, turn.thread_id)

    assert "Remember the lighthouse." in hers.text
    assert (hers.status_code, his.status_code) == (200, 404)


def test_the_page_exists_in_the_demo_and_needs_no_sign_in(running: Ports) -> None:
    """The page is public, what it asks for is not."""
    page = httpx.get(f"{running.gateway_url}/", trust_env=False)
    session = httpx.get(f"{running.gateway_url}/session", trust_env=False)

    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (session.status_code, session.json()["code"]) == (401, "credential_missing")


def test_a_key_rotation_signs_nobody_out(running: Ports) -> None:
    """Tokens from before and after the rotation are both good, with either algorithm."""
    with visitor(running, "alice") as before:
        before.session()
        before.client.post(f"{running.issuer_url}/rotate").raise_for_status()
        with visitor(running, "carol") as after:
            after.client.post(f"{running.issuer_url}/login?alg=ES256", data={"user": "carol"})
            names = [before.session()["name"], after.session()["name"]]

    assert names == ["Alice Example", "Carol Admin"]


def test_a_part_that_cannot_start_is_said_with_its_own_words(tmp_path: Path) -> None:
    """Exit 1, the part, its reason; the other parts are gone and so is the temporary directory."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "AGENT_BACKEND_MODEL__PROVIDER": "crystal-ball"}
    result = subprocess.run(
        [*DEMO, "--say", "Hello"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert result.returncode == 1
    assert "agent backend ended by itself (exit status 2)" in result.stderr
    assert "model.provider" in result.stderr
    assert list(tmp_path.iterdir()) == []


def get_thread(visitor: Visitor, thread_id: str) -> httpx.Response:
    body = {"type": "threads.get_by_id", "params": {"thread_id": thread_id}}
    headers = {"origin": visitor.ports.gateway_url}
    return visitor.client.post(f"{visitor.ports.gateway_url}/chatkit", json=body, headers=headers)
