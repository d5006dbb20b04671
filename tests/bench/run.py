"""A whole run: build, start the backend, measure round by round, write down what came out."""

import contextlib
import dataclasses
import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench import usage
from tests.bench.build import build_programs
from tests.bench.cores import choose_cores, raise_file_limit, stay_on
from tests.bench.errors import CannotMeasure, NoPicture, NotStarted
from tests.bench.interpreter import Interpreter, choose_python
from tests.bench.material import write_material
from tests.bench.measure import Bench, origin
from tests.bench.plot import draw
from tests.bench.report import render
from tests.bench.results import DISTURBED, START, Figures, Measurement, find_faults, is_disturbed, take_medians
from tests.bench.scenarios import Scenario, plan
from tests.bench.subjects import ROOT, SPARE_FILES, SUBJECTS, Subject
from tests.bench.targets import TARGETS, judge

# Compiled programs, bytecode, and the results of the last run, whatever it was.
CACHE = ROOT / ".bench"
# What the README shows: results of runs that left nothing out.
KEPT = Path(__file__).parent

ROUNDS = 3
# Descriptors of each program: two for each of 5,000 streams, and some. Servers set memory aside for all of them.
FILES = 12_000


def run(
    *,
    quick: bool,
    rounds: int | None,
    only: frozenset[str] | None,
    subjects: frozenset[str] | None,
    patience: float,
    python: str | None,
) -> int:
    """Measure, print the report, and write the results to `.bench/`; those of a run that left nothing out are kept.

    Args:
        rounds: None takes the usual number.
        only: Names of scenarios; None takes all.
        subjects: Names; None takes all that are installed.
        patience: Seconds to wait before each measurement for other programs to be quiet.
        python: What runs the gateway; None takes the fastest Python there is.

    Returns:
        1 if the gateway failed or did not do all of its work, otherwise 0.

    Raises:
        CannotMeasure: See there.
    """
    files = raise_file_limit(FILES)
    scenarios = _choose_scenarios(plan(quick=quick), only, files)
    wanted = _choose_subjects(subjects)
    interpreter = choose_python(python, CACHE, _say)
    chosen = [subject.run_by(interpreter.path) for subject in wanted]
    with _bench(files) as bench:
        present = [subject for subject in chosen if _is_here(bench, subject)]
        measurements: list[Measurement] = []
        for subject, scenario, number in _order(present, scenarios, rounds or (1 if quick else ROUNDS)):
            usage.await_calm(limit=DISTURBED, patience=patience)
            measurements += bench.measure(subject, scenario, number)
            _say(_summary(measurements[-1]))
    if not measurements:
        raise CannotMeasure("nothing is left to measure")
    figures = take_medians(measurements)
    versions = {subject.name: subject.find_version() for subject in present}
    report = render(measurements, figures, scenarios, versions)
    text = f"{_introduce(measurements, interpreter, quick=quick)}\n\n{report}\n"
    print(text)
    is_whole = not quick and only is None and len(present) == len(SUBJECTS)
    for folder in (CACHE, KEPT) if is_whole else (CACHE,):
        (folder / "results.md").write_text(f"# What the gateway costs\n\n{text}")
        _draw(figures, folder / "results.svg")
    _save(measurements, figures, versions)
    faults = find_faults(measurements)
    for fault in faults:
        print(f"bench: the gateway did not do its work: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _choose_scenarios(all_of_them: Sequence[Scenario], only: frozenset[str] | None, files: int) -> list[Scenario]:
    unknown = (only or frozenset()) - {scenario.name for scenario in all_of_them}
    if unknown:
        names = ", ".join(scenario.name for scenario in all_of_them)
        raise CannotMeasure(f"no scenario {', '.join(sorted(unknown))} in this run; there are {names}")
    chosen = []
    for scenario in all_of_them:
        needed = 2 * scenario.connections + SPARE_FILES
        if needed > files:
            _say(f"{scenario.name} is left out: it takes {needed} descriptors, the limit is {files} (ulimit -n)")
        elif only is None or scenario.name in only:
            chosen.append(scenario)
    return chosen


def _choose_subjects(names: frozenset[str] | None) -> list[Subject]:
    unknown = (names or frozenset()) - set(SUBJECTS)
    if unknown:
        raise CannotMeasure(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    return [subject for name, subject in SUBJECTS.items() if names is None or name in names]


@contextlib.contextmanager
def _bench(files: int) -> Iterator[Bench]:
    """Everything but the subjects; all of it is gone at the end."""
    programs = build_programs(CACHE / "programs")
    cores = choose_cores()
    stay_on(cores.load)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, origin(programs) as backend:
        yield Bench(
            programs=programs,
            cores=cores,
            material=write_material(Path(folder)),
            backend=backend,
            files=files,
            pycache=CACHE / "pycache",
        )


def _is_here(bench: Bench, subject: Subject) -> bool:
    """Whether it is installed, and starts. The gateway has to."""
    if subject.find() is None:
        _say(f"{subject.name} is not installed: left out")
        return False
    try:
        with bench.running(subject):
            return True
    except NotStarted as exc:
        if subject.name == "gateway":
            raise
        _say(f"{subject.name} is left out: {exc}")
        return False


def _order(
    subjects: Sequence[Subject], scenarios: Sequence[Scenario], rounds: int
) -> Iterator[tuple[Subject, Scenario, int]]:
    """Round by round, and in a round subject by subject under the same load: what disturbs one disturbs all."""
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            # There and back: nobody is always the first.
            for subject in subjects if number % 2 else subjects[::-1]:
                if scenario.every_round or (number == rounds and subject.name == "gateway"):
                    yield subject, scenario, number


def _summary(measurement: Measurement) -> str:
    figures = "  ".join(f"{name} {value:,.1f}" for name, value in measurement.figures.items())
    return f"round {measurement.round}  {measurement.scenario:13} {measurement.subject:8} {figures}"


def _introduce(measurements: Sequence[Measurement], interpreter: Interpreter, *, quick: bool) -> str:
    """Under what circumstances, in a few lines."""
    system = ".".join(platform.release().split(".")[:2])
    place = f"{_processor()}, Linux {system}, Python {interpreter.version}"
    if quick:
        return f"A quick run, to see that everything works; its figures mean little. {place}."
    runs = [run for run in measurements if run.scenario != START]
    rounds = max(run.round for run in runs)
    disturbed = sum(is_disturbed(run.figures) for run in runs)
    return (
        f"Written by `make bench`: medians of {rounds} round{'s' if rounds > 1 else ''} on {place}. Each subject "
        "runs in one process on one core, fresh for every load; browsers and backend share another; no TLS. During "
        f"{disturbed} of {len(runs)} runs other programs kept more than {DISTURBED} processors busy; such runs count "
        "only where there is no other."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


def _draw(figures: Figures, path: Path) -> None:
    try:
        draw(figures, path)
    except NoPicture as exc:
        _say(str(exc))


def _save(measurements: Sequence[Measurement], figures: Figures, versions: Mapping[str, str]) -> None:
    """Everything, for those who want to count themselves."""
    results = {
        "subjects": versions,
        "medians": [
            {"scenario": scenario, "subject": subject, "figure": name, "value": value}
            for (scenario, subject, name), value in figures.items()
        ],
        "targets": [dataclasses.asdict(judge(figures, target)) for target in TARGETS],
        "measurements": [dataclasses.asdict(measurement) for measurement in measurements],
    }
    path = CACHE / "results.json"
    path.write_text(json.dumps(results, indent=1))
    _say(f"written: {path.relative_to(ROOT)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
