"""`gateway chat` as people and scripts use it: a real process, through a real gateway, with a real agent backend."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agents import Model, ModelResponse, Usage
from agents.items import TResponseStreamEvent

from agent_backend.offline_model import events_of, message_of
from tests.support.demo import ROOT
from tests.together.world import World, world

# Seconds for one process on a busy machine.
TIMEOUT = 60
INTERRUPTED = 130


class Talkative(Model):
    """Says a word every fiftieth of a second, for minutes; ``stopped`` once nobody wants the rest."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.finished = False

    async def stream_response(self, *rest: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        try:
            for event in events_of(message_of("word " * 20_000)):
                await asyncio.sleep(0.02)
                yield event
            self.finished = True
        finally:
            self.stopped.set()

    async def get_response(self, *rest: Any, **options: Any) -> ModelResponse:
        return ModelResponse(output=[message_of("A title")], usage=Usage(), response_id=None)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("chat")) as running:
        yield running


@contextmanager
def started(there: World, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """The command with alice's token in its environment; killed if it is still there at the end."""
    environment = {**os.environ, "CHAT_TOKEN": there.issuer.token("alice"), "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    command = [sys.executable, "-m", "gateway", "chat", "--url", f"{there.gateway_url}/chatkit", *arguments]
    outputs: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    with subprocess.Popen(command, text=True, env=environment, cwd=ROOT, **outputs) as process:
        try:
            yield process
        finally:
            process.kill()


def run(there: World, *arguments: str, **streams: Any) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with started(there, *arguments, **streams) as process:
        out, err = process.communicate(timeout=TIMEOUT)
        return process.returncode, out, err


def test_a_script_asks_twice_in_one_thread(here: World) -> None:
    """The first answer's events name the thread; the second question is answered in it, as text alone."""
    status, out, err = run(here, "--json", "--quiet", "Remember the lighthouse.")
    events = [json.loads(line) for line in out.splitlines()]
    thread_id = events[0]["thread"]["id"]
    again = run(here, "--quiet", "--thread", thread_id, "And now?")

    assert (status, err, events[0]["type"]) == (0, "", "thread.created")
    assert (again[0], again[2]) == (0, "")
    assert "Before this you said: “Remember the lighthouse.”" in again[1]


def test_what_another_user_has_is_not_there(here: World) -> None:
    """A refusal is an exit status of 1 and one line, as for a thread that never was."""
    status, out, err = run(here, "--thread", "thr_of_somebody_else", "Hello")

    assert (status, out) == (1, "")
    assert err.startswith("gateway chat: /chatkit answered 404: ")


def test_somebody_at_a_terminal_has_a_conversation(here: World) -> None:
    """A prompt, answers in one thread, the end by Ctrl-D; on a terminal it is all in one place."""
    controller, terminal = pty.openpty()
    try:
        with started(here, stdin=terminal, stdout=terminal, stderr=terminal) as process:
            os.close(terminal)
            shown = read_until(controller, b"> ")
            os.write(controller, b"Remember the lighthouse.\n")
            shown += read_until(controller, b"\n> ")
            os.write(controller, b"And now?\n")
            shown += read_until(controller, b"\n> ")
            os.write(controller, b"\x04")
            status = process.wait(TIMEOUT)
    finally:
        os.close(controller)

    assert status == 0
    assert "Before this you said: “Remember the lighthouse.”" in shown.decode()


def test_ctrl_c_stops_the_answer_and_the_model(tmp_path: Path) -> None:
    """The text came as it was said; after the key the process ends as shells expect, and nobody goes on talking."""
    model = Talkative()
    with world(tmp_path, model=model) as there, started(there, "Talk") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(len("word word "))
        process.send_signal(signal.SIGINT)
        status = process.wait(TIMEOUT)
        stopped = model.stopped.wait(TIMEOUT)
        err = process.stderr.read()

    assert (first, status, stopped, model.finished) == ("word word ", INTERRUPTED, True, False)
    assert "Traceback" not in err


def test_ctrl_c_in_a_conversation_stops_the_answer_and_keeps_the_conversation(tmp_path: Path) -> None:
    """The prompt is back, the model is told, and the next key ends it as a success."""
    model = Talkative()
    controller, terminal = pty.openpty()
    with (
        world(tmp_path, model=model) as there,
        started(there, stdin=terminal, stdout=terminal, stderr=terminal) as process,
    ):
        os.close(terminal)
        read_until(controller, b"> ")
        os.write(controller, b"Talk\n")
        read_until(controller, b"word word ")
        process.send_signal(signal.SIGINT)
        shown = read_until(controller, b"\n> ")
        stopped = model.stopped.wait(TIMEOUT)
        os.write(controller, b"\x04")
        status = process.wait(TIMEOUT)
    os.close(controller)

    assert shown.endswith(b"stopped\r\n> ")
    assert (stopped, model.finished, status) == (True, False, 0)


def test_a_reader_that_has_had_enough_stops_it_too(tmp_path: Path) -> None:
    """`gateway chat … | head -c 10`: no traceback, and the model is told."""
    model = Talkative()
    with world(tmp_path, model=model) as there, started(there, "--quiet", "Talk") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        status = process.wait(TIMEOUT)
        stopped = model.stopped.wait(TIMEOUT)
        err = process.stderr.read()

    assert (status, err, stopped, model.finished) == (1, "", True, False)


def read_until(descriptor: int, end: bytes) -> bytes:
    """What a terminal shows until it shows ``end``."""
    shown = b""
    while not shown.endswith(end):
        shown += os.read(descriptor, 4096)  # OSError once nobody is at the other end
    return shown
