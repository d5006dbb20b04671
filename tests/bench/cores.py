"""Who runs on which core, and how many sockets a process may have. Linux."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass

# Tells the type checker, too. The command line says it more kindly before it imports this.
assert sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Numbers of cores: the subject has one to itself if there are two at all; the rest of us share the other."""

    subject: int
    load: int


def choose_cores() -> Cores:
    """The last core we may use and the first: interrupts tend to be served by the first."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(subject=allowed[-1], load=allowed[0])


def stay_on(core: int) -> None:
    """Run on this core from now on, and with us all that we start."""
    os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def starting_on(core: int) -> Iterator[None]:
    """What is started in here runs on ``core``: children inherit where their parent was."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def raise_file_limit(wanted: int) -> int:
    """Allow us, and all that we start, ``wanted`` descriptors if we may; returns how many it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
