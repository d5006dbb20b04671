"""One log line per request, and the request id that ties it to the other logs.

The outermost layer: it sees what really went out. It decides nothing and holds nothing back.
"""

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.wire.asgi import App, Message, Receive, Scope, Send
from gateway.wire.record import RequestRecord, attach

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
        clock: Monotonic seconds.
        make_id: A fresh request id.

    Attributes:
        ended: How many requests ended how, by `RequestRecord.ended_by`; streams apart, as ``stream.client``.
    """

    def __init__(
        self,
        app: App,
        *,
        quiet_paths: frozenset[str] = frozenset(),
        find_client: Callable[[Scope], str | None] = peer_of,
        clock: Callable[[], float] = time.monotonic,
        make_id: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._app = app
        self._quiet_paths = quiet_paths
        self._find_client = find_client
        self._clock = clock
        self._make_id = make_id
        self.ended: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = find_request_id(scope["headers"]) or self._make_id()
        record = RequestRecord(
            request_id=request_id, started=self._clock(), method=scope["method"], client=self._find_client(scope)
        )
        attach(scope, record)

        def observe(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            else:
                body = message.get("body", b"")
                if body and record.first_byte is None:
                    record.first_byte = self._clock()
                record.bytes_out += len(body)
                record.complete = not message.get("more_body", False)
            return send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            self.ended[f"stream.{record.ended_by}" if record.streaming else record.ended_by] += 1
            if record.failure is not None or scope["path"] not in self._quiet_paths:
                blameless = record.failure is None or record.failure.source == "client"
                level = logging.INFO if blameless else logging.WARNING
                write_line(level, record.fields(self._clock()))


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
        logger.handle(line)


def find_request_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The client's or front proxy's request id, if there is exactly one and it is a plain token."""
    values = [value for name, value in headers if name == b"x-request-id"]
    return values[0].decode() if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) else None
