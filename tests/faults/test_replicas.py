"""Replicas of a backend, each a process: one is killed in mid-load and comes back; threads have homes."""

import asyncio
import contextlib
import itertools
import json
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.errors import BackendInterrupted
from tests.faults.backend import Visit, listening, until
from tests.faults.client import Answer, connect
from tests.faults.process import GatewayProcess, reserved_port, serving
from tests.faults.recording import error_event
from tests.faults.replica import EVENT, replica

CLIENTS = 16
HELD = 30


class Load:
    """Clients that ask, each one thing after the other, until they are told to stop.

    Attributes:
        answers: By case, and by client.
    """

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._numbers = itertools.count()
        self._stopped = False
        self.answers: list[dict[str, Answer]] = [{} for _ in range(CLIENTS)]

    @property
    def count(self) -> int:
        return sum(map(len, self.answers))

    async def run(self) -> None:
        await asyncio.gather(*map(self._ask, self.answers))

    def stop(self) -> None:
        self._stopped = True

    async def _ask(self, answers: dict[str, Answer]) -> None:
        async with connect(self._gateway.port) as client:
            while not self._stopped:
                number = next(self._numbers)
                kind, operation = ("json", "threads.list") if number % 2 else ("stream", "threads.create")
                case = f"{kind}-{number}"
                answers[case] = await client.ask(self._gateway.request(case, operation=operation))


async def hold(gateway: GatewayProcess, case: str) -> Answer:
    async with connect(gateway.port) as client:
        return await client.ask(gateway.request(case))


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(reserved_port()) for _ in range(count)]


def heard_by(files: Sequence[Path]) -> dict[str, list[int]]:
    """For each case the replicas that heard it, as often as they did."""
    heard = defaultdict(list)
    for index, file in enumerate(files):
        for case in file.read_text().splitlines() if file.exists() else ():
            heard[case].append(index)
    return heard


def is_good(answer: Answer) -> bool:
    return (answer.status, answer.whole) == (200, True) and answer.body in (b"{}", EVENT + EVENT)


def is_interrupted(answer: Answer) -> bool:
    """Told that the backend went away, in the way of its operation."""
    if answer.headers["content-type"] == "text/event-stream":
        told = error_event(BackendInterrupted, answer.request_id)
        return answer.whole and answer.body in (told, EVENT + told)
    return (answer.status, answer.json()["code"]) == (502, "backend_interrupted")


def said(gateway: GatewayProcess, message: str) -> list[dict[str, Any]]:
    """The lines of the log that say so; one that is being written is none yet."""
    lines = gateway.log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines if f'"{message}"' in line]


async def test_a_replica_killed_in_mid_load(tmp_path: Path) -> None:
    """What had been sent to it is told so; everything else is answered, and nothing reaches two replicas.

    It is ejected, the others' streams go on, and when it is there again it is used again.
    """
    # More than die with it: what else it takes are requests that it refuses.
    backend = f"eject_after = {HELD + CLIENTS + 20}\neject_for = 0.2\nkeep_alive = 60"
    with contextlib.ExitStack() as stack:
        ports = stack.enter_context(reserved_ports(3))
        files = [tmp_path / f"heard-{index}" for index in range(3)]
        first, *others = [stack.enter_context(replica(*pair)) for pair in zip(ports, files, strict=True)]
        gateway = stack.enter_context(serving(tmp_path, backend=backend, ports=ports))
        held = {
            case: asyncio.create_task(hold(gateway, case))
            for case in (f"{kind}-{number}" for number in range(HELD // 2) for kind in ("held", "mute"))
        }
        assert await until(lambda: len(heard_by(files)) == HELD)
        load = Load(gateway)
        running = asyncio.create_task(load.run())

        assert await until(lambda: load.count > 300)
        first.send_signal(signal.SIGKILL)
        assert await until(lambda: bool(said(gateway, "replica ejected")))
        before = size_of(files[0])
        stack.enter_context(replica(ports[0], files[0]))
        assert await until(lambda: size_of(files[0]) > before + 100)
        load.stop()
        await running
        for process in others:
            process.send_signal(signal.SIGUSR1)
        ends = {case: await task for case, task in held.items()}

    heard = heard_by(files)
    assert [case for case, places in heard.items() if len(places) > 1] == []

    # Each client had one request on its way at most when the replica died.
    failed = [{case for case, answer in answers.items() if not is_good(answer)} for answers in load.answers]
    assert max(map(len, failed)) <= 1
    answers = {case: answer for answers in load.answers for case, answer in answers.items()}
    lost = set().union(*failed)
    assert [answers[case].body for case in lost if not is_interrupted(answers[case])] == []
    assert {place for case in lost for place in heard[case]} <= {0}
    assert [case for case in answers if case not in lost and len(heard[case]) != 1] == []

    assert [sum(heard[case] == [place] for case in held) for place in range(3)] == [HELD // 3] * 3
    assert [case for case in held if is_interrupted(ends[case])] == [case for case in held if heard[case] == [0]]
    assert [case for case in held if is_good(ends[case])] == [case for case in held if heard[case] != [0]]

    name = f"http://127.0.0.1:{ports[0]}"
    for message in ("replica ejected", "replica is back"):
        assert [(line["backend"], line["replica"]) for line in said(gateway, message)] == [("support", name)]


def size_of(file: Path) -> int:
    """How many requests it has."""
    return file.read_bytes().count(b"\n")


def about(gateway: GatewayProcess, thread: str, case: str) -> bytes:
    """A request that names a thread; its text is as no browser writes it every other time."""
    body = json.dumps({"type": "threads.get_by_id", "params": {"thread_id": thread}}, indent=len(case) % 2 or None)
    head = (
        f"POST /chatkit?{case} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {gateway.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


async def test_the_requests_of_a_thread_go_to_its_home(tmp_path: Path) -> None:
    """From whichever gateway they come, and in whatever order its settings name the replicas."""
    heard: dict[str, set[int]] = defaultdict(set)

    async def ask_all(ports: Sequence[int], folder: Path) -> None:
        with serving(folder, backend='sticky = "thread"', ports=ports) as gateway:
            async with connect(gateway.port) as client:
                for number in range(90):
                    thread = f"thr_{number % 30}"
                    answer = await client.ask(about(gateway, thread, f"{thread}-{'x' * (number % 2)}"))
                    assert answer.body == b"{}"

    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(reserved_ports(3))
        for port in ports:

            async def script(visit: Visit, port: int = port) -> None:
                heard[visit.case.partition("-")[0]].add(port)
                visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

            await stack.enter_async_context(listening(port, script))
        await ask_all(ports, tmp_path)
        await ask_all(ports[::-1], tmp_path)

    assert {thread: len(places) for thread, places in heard.items()} == {f"thr_{number}": 1 for number in range(30)}
    assert set().union(*heard.values()) == set(ports)
