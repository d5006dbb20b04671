"""``python -m tests.bench``: what the gateway costs, beside programs that do part of its work. Linux only.

Exit codes: 0 measured, whether the targets are held or not; 1 the gateway failed, or did not do all of its work; 2 it
cannot be measured here.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from tests.bench.errors import CannotMeasure
from tests.bench.scenarios import plan


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for; returns the exit code."""
    options = _build_parser().parse_args(arguments)
    if sys.platform != "linux":
        print(f"bench: Linux is needed (epoll, /proc, processor affinity), this is {sys.platform}", file=sys.stderr)
        return 2
    # Imported late: parts of it exist on Linux alone.
    from tests.bench.run import run

    # What was started is stopped on the way out, whoever asks for it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return run(**vars(options))
    except CannotMeasure as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the gateway costs. Linux only.")
    scenarios = ", ".join(scenario.name for scenario in plan(quick=False))
    parser.add_argument("--quick", action="store_true", help="short runs, one round: does everything work? no figures")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds to take medians of; default: 3")
    parser.add_argument("--only", type=_words, metavar="NAMES", help=f"scenarios, with commas between: {scenarios}")
    parser.add_argument("--subjects", type=_words, metavar="NAMES", help="of direct, nginx, haproxy, gateway")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait so long at most, before each measurement, for other programs to be quiet; default: not at all",
    )
    parser.add_argument("--python", metavar="PATH", help="what runs the gateway; default: the fastest there is")
    return parser


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
