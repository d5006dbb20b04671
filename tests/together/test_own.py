"""Bring your own: the examples of `deploy/examples`, and a package from nowhere, each a process behind the gateway."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from chatkit.types import ThreadStreamEvent

from agent_backend.store import build_engine
from agent_backend.store.usage import SqlUsage, Total
from tests.support.issuer import Issuer
from tests.support.model_server import ModelServer, model_server
from tests.support.running import running_gateway
from tests.support.servers import free_port, serve
from tests.together.world import Browser, answer_text, decode, gateway_toml, issuer_app, thread_id

EXAMPLES = Path(__file__).parents[2] / "deploy/examples"
ISSUER = Issuer()
# Seconds a process may take to start on a busy machine.
START_TIMEOUT = 90.0

# An agent that looks things up, fails for one user, and gives no agent to another; it names no model.
PACKAGE = '''
import asyncio

from agents import Agent, RunContextWrapper, function_tool
from chatkit.errors import CustomStreamError


@function_tool
async def whoami(run: RunContextWrapper) -> str:
    """Who is asking."""
    return run.context.request_context.user.id


async def build_agent(turn):
    await asyncio.sleep(0)
    user = turn.context.user.id
    if user == "mallory":
        raise LookupError("no customer SECRET-4711")
    if user == "eve":
        return None
    if user == "olga":
        raise CustomStreamError("Please accept the new terms first.")
    return Agent(name="theirs", instructions=f"Theirs, for {user}.", tools=[whoami])
'''


@contextlib.contextmanager
def process(
    *command: str, folder: Path, log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on ``port``, with ``folder`` as its working directory."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_listening(port):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        running.wait(START_TIMEOUT)


def is_listening(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/livez", timeout=1)
        return True
    return False


@contextlib.contextmanager
def gateway_before(folder: Path, port: int) -> Iterator[str]:
    with serve(issuer_app(ISSUER)) as keys:
        toml = gateway_toml(ISSUER, f"{keys}/jwks", f"http://127.0.0.1:{port}/chatkit")
        with running_gateway(folder, toml) as url:
            yield url


def settings_of(folder: Path, *, agent: str, port: int, gateway_url: str, endpoint: ModelServer) -> str:
    file = folder / "backend.toml"
    file.write_text(
        f"""
agent = "{agent}"
[server]
port = {port}
log_format = "json"
[database]
url = "sqlite:///{folder}/agent.sqlite3"
[gateway]
jwks_url = "{gateway_url}/.well-known/jwks.json"
issuer = "{gateway_url}"
audience = "support"
[model]
provider = "openai"
base_url = "{endpoint.url}"
name = "m"
api = "chat_completions"
"""
    )
    return str(file)


@contextlib.contextmanager
def own_agent(folder: Path, agent: str, endpoint: ModelServer) -> Iterator[tuple[str, Path]]:
    """The gateway's URL, and the log of a backend with that agent."""
    port, log = free_port(), folder / "backend.log"
    with gateway_before(folder, port) as url:
        settings = settings_of(folder, agent=agent, port=port, gateway_url=url, endpoint=endpoint)
        with process("-m", "agent_backend", "serve", "--settings", settings, folder=folder, log=log, port=port):
            yield url, log


def browser(url: str, user: str = "alice", **options: Any) -> Browser:
    return Browser(url=url, token=ISSUER.token(user), **options)


def errors_in(events: list[ThreadStreamEvent]) -> list[str | None]:
    return [event.message for event in events if event.type == "error"]


def test_a_brought_agent_keeps_everything_else(tmp_path: Path) -> None:
    """Identity, page, history, ownership, usage and cancellation, with a package that only the folder holds."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/__init__.py").touch()
    (tmp_path / "theirs/agent.py").write_text(PACKAGE)
    with (
        model_server(usage=(7, 4)) as endpoint,
        own_agent(tmp_path, "theirs.agent:build_agent", endpoint) as (url, log),
    ):
        alice = browser(url, page={"title": "Orders"})
        thread = thread_id(alice.say("One."))
        second = alice.say("Two.", thread)
        foreign = browser(url, "bob").send("threads.get_by_id", thread_id=thread)
        endpoint.faults = ["never_ends"]
        leave(alice, thread, endpoint)
        after = say_when_free(alice, "Four.", thread)
        items = alice.send("items.list", thread_id=thread, order="asc").json()["data"]
        bad = [browser(url, user).say("Hello") for user in ("mallory", "eve", "olga")]
        usage = asyncio.run(usage_of(tmp_path, thread))

    asked = endpoint.requests[1]
    assert asked["messages"][0] == {"role": "system", "content": "Theirs, for alice."}
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["whoami"]
    assert all(text in str(asked["messages"]) for text in ("One.", "Hello from the socket.", "Orders", "Two."))
    assert answer_text(second) == answer_text(after) == "Hello from the socket."
    assert foreign.status_code == 404
    assert [item["type"] for item in items] == ["user_message", "assistant_message"] * 4
    assert [len(errors_in(events)) for events in bad] == [1, 1, 1]
    assert errors_in(bad[2]) == ["Please accept the new terms first."]
    assert "SECRET-4711" not in str(bad)
    logged = log.read_text()
    assert "LookupError" in logged
    assert "returned NoneType, expected agents.Agent" in logged
    # Four answers and a title with 7 + 4 tokens each, but for the answer that was left.
    assert [(total.answers, total.partial, total.requests, total.tokens_in, total.tokens_out) for total in usage] == [
        (4, 1, 4, 28, 16)
    ]


async def usage_of(folder: Path, thread: str) -> list[Total]:
    """What the database says of one conversation, while the backend runs."""
    engine = build_engine(f"sqlite:///{folder}/agent.sqlite3")
    try:
        totals = await SqlUsage(engine=engine).totals(by="thread")
    finally:
        await engine.dispose()
    return [total for total in totals if total.thread_id == thread]


def leave(browser: Browser, thread: str, endpoint: ModelServer) -> None:
    """Ask, read a few words, and go; then wait until the model has stopped."""
    message = {"content": [{"type": "input_text", "text": "Three."}], "attachments": [], "inference_options": {}}
    body = browser.body("threads.add_user_message", thread_id=thread, input=message)
    with httpx.stream("POST", browser.url + browser.path, content=body, headers=browser.all_headers()) as answer:
        for line in answer.iter_lines():
            if "text_delta" in line:
                break
    deadline = time.monotonic() + 10
    while endpoint.open:
        assert time.monotonic() < deadline, "the model is still being asked"
        time.sleep(0.01)


def say_when_free(browser: Browser, text: str, thread: str) -> list[ThreadStreamEvent]:
    """Until the answer that was left is saved, the conversation is taken: 409 says so, and changes nothing."""
    message = {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        answer = browser.send("threads.add_user_message", thread_id=thread, input=message)
        if answer.status_code == 200:
            return decode(answer.content)
        assert answer.json()["code"] == "thread_busy", answer.text
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_example_of_an_agent(tmp_path: Path) -> None:
    """`deploy/examples/own_agent`: its tool is there, and the model cannot choose whose orders it gets."""
    shutil.copytree(EXAMPLES / "own_agent", tmp_path, dirs_exist_ok=True)
    with model_server() as endpoint, own_agent(tmp_path, "shop:build_agent", endpoint) as (url, _):
        text = answer_text(browser(url).say("Where is my order?"))

    [tool] = endpoint.requests[0]["tools"]
    assert (tool["function"]["name"], tool["function"]["parameters"]["properties"]) == ("list_orders", {})
    assert "shop's assistant" in endpoint.requests[0]["messages"][0]["content"]
    assert text == "Hello from the socket."


def test_the_example_of_a_server(tmp_path: Path) -> None:
    """`deploy/examples/own_server`: only `trust`, and a verified user; nobody gets in beside the gateway."""
    port = free_port()
    folder = EXAMPLES / "own_server"
    log = tmp_path / "server.log"
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    with gateway_before(tmp_path, port) as url:
        command = ("-m", "uvicorn", "server:app", "--port", str(port))
        with process(*command, folder=folder, log=log, port=port, environment={**environment, "GATEWAY_URL": url}):
            alice = browser(url, page={"title": "Orders"})
            events = alice.say("Hello")
            thread = thread_id(events)
            mine = alice.send("threads.get_by_id", thread_id=thread)
            others = browser(url, "bob").send("threads.get_by_id", thread_id=thread)
            straight = httpx.post(
                f"http://127.0.0.1:{port}/chatkit", content=alice.body("threads.list"), headers=alice.all_headers()
            )

    assert answer_text(events) == "Hello Alice, you are on Orders."
    assert mine.status_code == 200
    assert (others.status_code, others.json()["code"]) == (404, "not_found")
    assert (straight.status_code, straight.json()["code"]) == (401, "assertion_missing")


def test_a_wrong_name_is_told_at_start(tmp_path: Path) -> None:
    """One line on stderr that names the value and the fix, exit status 2, no traceback. The others: test_plugin."""
    endpoint = ModelServer(url="http://127.0.0.1:1/v1")
    agent = "nowhere.agent:build_agent"
    settings = settings_of(tmp_path, agent=agent, port=0, gateway_url="http://127.0.0.1:1", endpoint=endpoint)
    done = subprocess.run(
        [sys.executable, "-m", "agent_backend", "serve", "--settings", settings],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=START_TIMEOUT,
        check=False,
    )

    assert done.returncode == 2
    assert "agent_backend: agent 'nowhere.agent:build_agent': no module nowhere; install it" in done.stderr
    assert "Traceback" not in done.stderr
