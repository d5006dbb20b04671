"""Is one replica fit for requests? Judged by how its last ones went: passive ejection, and the way back.

Rules: so many failures in a row eject it; then one request in each ``eject_for`` is let through to it, until one is
answered: that brings it back at once, and a failure leaves it out for as long again. So one person in ``eject_for``
seconds waits for a replica that hangs, and not everybody. Does no I/O; knows nothing of other replicas.
"""

import time
from collections.abc import Callable

from gateway.backends.answer import Answer
from gateway.errors import BackendError, BackendFailed, BackendInterrupted, BackendInvalid

# The replica, or a proxy before it, says itself that it cannot serve: RFC 9110 sections 15.6.3 to 15.6.5. A 500 is a
# bug that comes with a request, and would take one replica after the other out with it.
UNFIT_STATUSES = frozenset({502, 503, 504})


class Standing:
    """How one replica stands.

    Args:
        eject_after: Failures in a row.
        eject_for: Seconds.
        clock: Monotonic seconds.

    Attributes:
        ejections: How often it was ejected so far.
    """

    __slots__ = ("_clock", "_eject_after", "_eject_for", "_failures", "_next_try", "ejections")

    def __init__(self, *, eject_after: int, eject_for: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ejections = 0
        self._eject_after = eject_after
        self._eject_for = eject_for
        self._clock = clock
        self._failures = 0
        self._next_try: float | None = None

    @property
    def is_ejected(self) -> bool:
        """From the failure that was one too many to the next answer."""
        return self._next_try is not None

    @property
    def is_fit(self) -> bool:
        """May it have a request now? Ejected, it may have the one that tries it."""
        return self._next_try is None or self._clock() >= self._next_try

    def note_request(self) -> None:
        """It gets one; while ejected it is then the one that tries it."""
        if self._next_try is not None:
            self._next_try = self._clock() + self._eject_for

    def note_answer(self) -> bool:
        """It answered. True if that brought it back."""
        was_ejected = self.is_ejected
        self._failures, self._next_try = 0, None
        return was_ejected

    def note_failure(self) -> bool:
        """It failed. True if that ejected it."""
        self._failures += 1
        if self.is_ejected or self._failures < self._eject_after:
            return False
        self.ejections += 1
        self._next_try = self._clock() + self._eject_for
        return True


def judge_exchange(answer: Answer, reason: BaseException | None) -> BackendError | None:
    """What an exchange that is over says against its replica; None if nothing.

    Args:
        reason: What ended the exchange from outside: a client that left, for one, which says nothing of the replica.
    """
    failure = answer.failure
    if answer.status:
        if answer.status in UNFIT_STATUSES:
            return BackendFailed(f"answered {answer.status}")
        # A long answer may run out of its time, or of its token's; a broken one is the replica's doing.
        return failure if isinstance(failure, BackendInterrupted | BackendInvalid) else None
    if failure is None and reason is None:
        return BackendFailed("no answer in time")
    found = failure or reason
    return found if isinstance(found, BackendError) else None
