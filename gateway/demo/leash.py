"""Run a module as `python -m` does, but no longer than the process that started it lives.

    python -m gateway.demo.leash MODULE [ARGUMENT ...]

Rules: whoever starts it holds the other end of standard input, and the kernel closes that end whatever way the holder
goes, SIGKILL included. End of file here means: end yourself, politely first, then at once. The module knows nothing.

Why not PR_SET_PDEATHSIG: it exists on Linux only, is tied to the thread that forked, and leaves a gap between fork and
the call. A pipe works on every POSIX system and has no gap.
"""

import os
import runpy
import signal
import sys
import threading
import time

STDIN = 0
# Seconds between the polite end and the certain one; the supervisor itself grants more (supervisor.STOP_TIMEOUT).
GRACE = 3.0


def main() -> None:
    threading.Thread(target=end_with_holder, name="leash", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def end_with_holder() -> None:
    """Block until standard input ends, then end this process."""
    while os.read(STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
