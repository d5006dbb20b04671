"""One scenario on one subject: a fresh process, a warm-up, the load, and what all of it shows."""

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import usage
from tests.bench.build import Programs
from tests.bench.cores import Cores
from tests.bench.errors import CannotMeasure
from tests.bench.material import Material
from tests.bench.processes import Running, running, stop
from tests.bench.report import MARKS
from tests.bench.results import START, Measurement
from tests.bench.scenarios import WARM_UP, Scenario
from tests.bench.subjects import Subject

# Seconds between two looks at a subject's memory.
LOOK = 0.25
# Seconds for the last work of a run to be done, and booked, when the last answer is here.
SETTLE = 0.1

# What the load program counts as failed.
_FAILURES = ("unconnected", "refused", "broken", "cut_short", "unfinished")
# Which of its times tells of a scenario.
_TIMES = {"json": "answer", "stream": "event", "first byte": "first_byte", "open": "event", "soak": "event"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What has been used so far, in CPU seconds, and what has reached the backend."""

    counts: Mapping[str, float]
    subject: float
    ours: float
    machine: float
    time: float

    def others_since(self, before: "_Look", *, load: float) -> float:
        """How many processors were kept busy by programs that are none of ours; more than a little spoils a run."""
        ours = self.subject - before.subject + self.ours - before.ours + load
        return max(self.machine - before.machine - ours, 0.0) / (self.time - before.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measurement needs.

    Attributes:
        backend: The port of the backend.
        files: Descriptors per process.
        pycache: Bytecode of the subjects written in Python.
    """

    programs: Programs
    cores: Cores
    material: Material
    backend: int
    files: int
    pycache: Path

    @contextlib.contextmanager
    def running(self, subject: Subject) -> Iterator[Running | None]:
        """Run a subject; gives None for ``direct``, where there is none to run."""
        if not subject.command:
            yield None
            return
        program = subject.prepare(self.material.folder, backend=self.backend, files=self.files)
        with running(program, self.cores.subject, self.pycache) as process:
            yield process

    def measure(self, subject: Subject, scenario: Scenario, number: int) -> list[Measurement]:
        """Run ``scenario`` on a fresh ``subject`` in round ``number``; returns how it started, and how it did.

        Raises:
            NotStarted: The subject did not.
            CannotMeasure: The load program did not do its work, or nothing was answered.
        """
        with self.running(subject) as process:
            port = process.port if process else self.backend
            self._warm_up(port)
            before, memory = self._look(process), _memory(process)
            answer, peak = self._apply(scenario, port, process)
            time.sleep(SETTLE)
            after = self._look(process)
            figures = _figures(scenario, answer)
            if process and scenario.kind in ("json", "stream"):
                pieces = answer["answers" if scenario.kind == "json" else "events"]
                figures["cpu"] = (after.subject - before.subject) * 1e6 / max(pieces, 1)
            if process and scenario.kind == "open" and answer["most_open"] == scenario.connections:
                figures["memory"] = (peak - memory) / scenario.connections
            figures["others"] = after.others_since(before, load=answer["cpu"])
            run = _measurement(number, subject, scenario.name, figures, _marks(before.counts, after.counts))
        return [_measurement(number, subject, START, {"ready": process.seconds}), run] if process else [run]

    def _warm_up(self, port: int) -> None:
        answer, _ = self._apply(WARM_UP, port, None)
        if not answer["answers"] or _failed(answer):
            raise CannotMeasure(f"the warm-up was not answered: {answer}")

    def _apply(self, scenario: Scenario, port: int, process: Running | None) -> tuple[Mapping[str, Any], int]:
        """Apply the load; returns what it measured, and the most memory (KiB) seen in ``process`` meanwhile."""
        command = [str(self.programs.load), *_options(scenario, port, self.material.write_requests(scenario))]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        peak = 0
        try:
            while load.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    load.wait(LOOK)
                if scenario.kind == "open":
                    peak = max(peak, _memory(process))
            output = load.stdout.read() if load.stdout else b""
        finally:
            stop(load)
        if load.returncode:
            raise CannotMeasure(f"{' '.join(command)}: {output.decode(errors='replace')}")
        answer: Mapping[str, Any] = json.loads(output)
        return answer, peak

    def _look(self, process: Running | None) -> "_Look":
        counts = self._count()
        return _Look(
            counts=counts,
            subject=usage.cpu_seconds(process.pid) if process else 0.0,
            ours=time.process_time() + counts["cpu"],
            machine=usage.busy_seconds(),
            time=time.monotonic(),
        )

    def _count(self) -> Mapping[str, float]:
        """What has reached the backend so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=5)
        try:
            connection.request("GET", "/")
            counts: Mapping[str, float] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return counts


@contextlib.contextmanager
def origin(programs: Programs) -> Iterator[int]:
    """Run the backend; gives its port."""
    process = subprocess.Popen([str(programs.origin)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield int(process.stdout.readline() if process.stdout else b"")
    finally:
        stop(process)


def _options(scenario: Scenario, port: int, requests: Path) -> list[str]:
    """The load program's words; it takes milliseconds."""
    options = {
        "-p": port,
        "-q": requests,
        "-c": scenario.connections,
        "-a": round(scenario.ramp * 1000),
        "-w": round(scenario.warm * 1000),
        "-t": round(scenario.time * 1000),
        "-l": round(scenario.limit * 1000),
        "-n": scenario.events,
        "-d": round(scenario.interval * 1000),
        "-o": int(scenario.once),
        "-m": int(scenario.mixed),
    }
    return [str(word) for pair in options.items() for word in pair]


def _figures(scenario: Scenario, answer: Mapping[str, Any]) -> dict[str, float]:
    """What the load program measured, under our names."""
    figures: dict[str, float] = {"failed": _failed(answer)}
    times = answer.get(_TIMES[scenario.kind])
    if times:
        figures |= {"p50": times["p50"], "p99": times["p99"]}
    if scenario.kind == "json":
        figures["rate"] = answer["answers_per_second"]
    if scenario.kind == "stream":
        figures["rate"] = answer["events_per_second"]
    if scenario.kind in ("stream", "open", "soak"):
        figures["late"] = answer["late"]
    if scenario.kind == "soak":
        figures |= {"open": answer["most_open"], "answers": answer["answers"]}
    return figures


def _failed(answer: Mapping[str, Any]) -> int:
    return sum(answer[name] for name in _FAILURES)


def _marks(before: Mapping[str, float], after: Mapping[str, float]) -> Mapping[str, float]:
    """Shares of the requests between two counts."""
    requests = after["requests"] - before["requests"]
    return {mark: (after[mark] - before[mark]) / max(requests, 1) for mark in MARKS}


def _measurement(
    number: int,
    subject: Subject,
    scenario: str,
    figures: Mapping[str, float],
    marks: Mapping[str, float] | None = None,
) -> Measurement:
    return Measurement(round=number, subject=subject.name, scenario=scenario, figures=figures, marks=marks or {})


def _memory(process: Running | None) -> int:
    return usage.memory(process.pid) if process else 0
