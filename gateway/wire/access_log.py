"""One log line per request, and the request id that ties it to the other logs.

The outermost layer: it sees what really went out. It decides nothing and holds nothing back. What is known of a request
is counted and written a few milliseconds later at most, together with others, while the loop would only wait.

Rules: the level says who has to act: info for nobody or the client, warning for the backend and for limits, error for
ourselves. Of successes only a share may be logged, the same for every log that goes by the request id; failures,
refusals and streams that anybody but their client cut are logged always. A refusal is said to the audit log as well.
"""

import logging
import os
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.errors import Draining, Limited
from gateway.wire.asgi import App, Message, Receive, Scope, Send, direct_of
from gateway.wire.audit import is_refusal, write_refusal
from gateway.wire.record import RequestRecord, attach
from gateway.wire.trace import Trace, find_trace
from gateway.wire.turns import Lull

logger = logging.getLogger("gateway.access")

# What a proxy in front may have made: UUIDs, trace ids, nginx's and Envoy's ids. Anything else is replaced.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


def peer_of(scope: Scope) -> str | None:
    """The address at the other end of the connection; None on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else None


class AccessLog:
    """Writes the line.

    Args:
        app: What to watch.
        quiet_paths: Paths whose successes are not logged: probes ask every few seconds.
        find_client: The address of whoever asks; default: the peer's.
        find_trace: The trace that a request belongs to, from its `traceparent` headers.
        heartbeat: What streams are sent while the backend is silent; no answer has begun with it.
        on_end: Told of every request when it is over: the record, monotonic seconds, and who ended it.
        sample_successes: Share (0 to 1) of the successes that are logged.
        lull: When there is time to count and to write.
        clock: Monotonic seconds.
        make_id: A fresh request id.
    """

    def __init__(
        self,
        app: App,
        *,
        quiet_paths: frozenset[str] = frozenset(),
        find_client: Callable[[Scope], str | None] = peer_of,
        find_trace: Callable[[Sequence[bytes]], Trace] = find_trace,
        heartbeat: bytes = b"",
        on_end: Callable[[RequestRecord, float, str], None] = lambda *_: None,
        sample_successes: float = 1.0,
        lull: Lull | None = None,
        clock: Callable[[], float] = time.monotonic,
        make_id: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._app = app
        self._quiet_paths = quiet_paths
        self._find_client = find_client
        self._find_trace = find_trace
        self._heartbeat = heartbeat
        self._on_end = on_end
        self.sample_successes = sample_successes
        self._clock = clock
        self._make_id = make_id
        self._ended: list[tuple[RequestRecord, str, float]] = []  # since the last lull, and when
        self._lull = lull or Lull()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ids, traces = [], []
        direct = direct_of(scope)
        for name, value in scope["headers"] if direct is None else direct.varying:
            if name == b"x-request-id":
                ids.append(value)
            elif name == b"traceparent":
                traces.append(value)
        request_id = find_request_id(ids) or self._make_id()
        record = RequestRecord(
            request_id=request_id,
            started=self._clock(),
            method=scope["method"],
            client=self._find_client(scope),
            trace=self._find_trace(traces),
        )
        attach(scope, record)

        def observe(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            else:
                body = message.get("body", b"")
                if record.first_byte is None and body and body != self._heartbeat:
                    record.first_byte = self._clock()
                record.bytes_out += len(body)
                record.complete = not message.get("more_body", False)
            return send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            self._ended.append((record, scope["path"], self._clock()))
            self._lull.ask(self.settle)

    def settle(self) -> None:
        """Count and write what has ended so far.

        One after the other they take less time than each between two others' answers: the code is in the processor's
        cache, and the answers are out.
        """
        over, self._ended = self._ended, []
        for record, path, ended in over:
            try:
                self._tell(record, path, ended)
            except Exception:
                logger.exception(
                    "a request could not be counted or written", extra={"fields": {"request_id": record.request_id}}
                )
            # The scope may live as long as the client's connection, the backend need not; and an error leads back here
            # by its traceback: a request leaves no cycle for the collector.
            record.answer = record.failure = None

    def _tell(self, record: RequestRecord, path: str, ended: float) -> None:
        ended_by = record.ended_by
        self._on_end(record, ended, ended_by)
        if record.failure is not None or path not in self._quiet_paths:
            self._write(record, ended)
        if is_refusal(record, ended_by):
            write_refusal(record)

    def _write(self, record: RequestRecord, ended: float) -> None:
        share = self.sample_successes
        if share == 1.0 or not record.is_ordinary:
            write_line(level_of(record), record.fields(ended))
        elif is_sampled(record.request_id, share):
            write_line(level_of(record), {**record.fields(ended), "sample_rate": share})


def level_of(record: RequestRecord) -> int:
    """How important a request's line is: by who has to act.

    1. Nobody, or the client: nobody can fill the operator's warnings from outside. 2. We, and not because we were told
    to: a bug, or keys that cannot be had. 3. The backend's operator, or whoever set a limit.
    """
    failure = record.failure
    if failure is None:
        return logging.INFO if record.complete else logging.WARNING
    if failure.source == "client":
        return logging.INFO
    is_ours = failure.source == "gateway" and not isinstance(failure, Draining | Limited)
    return logging.ERROR if is_ours else logging.WARNING


def is_sampled(request_id: str, share: float) -> bool:
    """Does this id belong to the share (0 to 1)? Whoever keeps logs by the same rule keeps the same requests."""
    return zlib.crc32(request_id.encode()) < share * 2**32


# What is the same in the record of every line.
_RECORD = vars(logging.LogRecord(logger.name, logging.INFO, "", 0, "request", None, None))


def write_line(level: int, fields: Mapping[str, Any]) -> None:
    """What ``logger.log(level, "request", extra={"fields": fields})`` does, for a fifth of the time: it does not find
    out where it was called from, and by which thread."""
    if logger.isEnabledFor(level):
        line = logging.LogRecord.__new__(logging.LogRecord)
        now = time.time()
        name = logging.getLevelName(level)
        vars(line).update(_RECORD, levelno=level, levelname=name, created=now, msecs=now % 1 * 1000, fields=fields)
        # A reason may quote somebody; nothing else does.
        line.is_plain = "reason" not in fields
        logger.handle(line)


def find_request_id(values: Sequence[bytes]) -> str | None:
    """The client's or front proxy's request id, if there is exactly one and it is a plain token."""
    return values[0].decode() if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) else None
