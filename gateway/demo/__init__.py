"""For `make demo` only: a development issuer, a page, a supervisor. Only `__main__` imports it; `serve` never does.

    run         `gateway demo`: everything until Ctrl-C          say      `gateway demo --say`: one question, then stop
    supervisor  several processes as one                         stack    which three, and how to tell they are ready
    leash       no process outlives the supervisor               ports    which ports, and whether they are free
    state       what is kept on disk                             talk     a browser's part, as a program
    issuer      the identity provider; its keys, people, login   hops     what the processes logged about one request
    page        the pages: a chat, and the official element      serving  the gateway with those pages on it

The functions here import their modules when called, so that the command line starts fast without them.
"""

from pathlib import Path


def run_demo(port: int, state: Path) -> int:
    """Run the demo until told to stop; see `run`. Returns the exit status."""
    from gateway.demo import run

    return run.run_demo(port, state)


def run_say(text: str) -> int:
    """Ask one question through everything and print the answer; see `say`. Returns the exit status."""
    from gateway.demo import say

    return say.run_say(text)
