"""One log line per request, and how lines look.

Rules: stable names, one event per request; a user is a short digest; no token, body or raw claim. A value can break no
line: JSON escapes, and the console form quotes. Knows of HTTP only what ASGI says.

    event=request  method  request_id  operation  thread_id  user  items  tokens_in  tokens_out  usage
    status  code  reason  ended_by  first_byte  bytes  duration

``items`` is how many the model was given; ``tokens_in`` and ``tokens_out`` are what the answer cost, as the model says,
and ``usage`` is there, as partial, when that is not all of it; ``ended_by`` is complete, client, error, unread or
shutdown; ``first_byte`` and ``duration`` are in seconds.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Notes = dict[str, str | int]
LogFormat = Literal["json", "console"]

# Probes come every few seconds, for ever.
SILENT = frozenset({"/livez", "/readyz"})
# What a LogRecord has of its own; the rest came with `extra`.
STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}

logger = logging.getLogger(__name__)


def notes_of(scope: Scope) -> Notes:
    """What this request's line will say; anybody on the way may add to it."""
    notes: Notes = scope.setdefault("agent_backend.notes", {})
    return notes


class AccessLog:
    """Watches every answer go out, and says one line about it at its end."""

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in SILENT:
            await self.app(scope, receive, send)
            return
        answer = Answer(send=send, clock=self._clock)
        notes = notes_of(scope)
        try:
            await self.app(scope, receive, answer.pass_on)
        finally:
            fields = {"method": scope["method"], **notes, **answer.facts()}
            fields.setdefault("ended_by", "complete")
            # Under one name: `thread` would collide with a LogRecord's own.
            logger.info("request", extra={"fields": fields})


class Answer:
    """Counts one answer."""

    def __init__(self, *, send: Send, clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self._begun = clock()
        self._first_byte: float | None = None
        self._bytes = 0
        self._status = 0

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message.get("body"):
            self._first_byte = self._first_byte if self._first_byte is not None else self._clock()
            self._bytes += len(message["body"])
        await self._send(message)

    def facts(self) -> dict[str, Any]:
        first = {} if self._first_byte is None else {"first_byte": round(self._first_byte - self._begun, 4)}
        duration = round(self._clock() - self._begun, 4)
        return {"status": self._status, **first, "bytes": self._bytes, "duration": duration}


def configure_logging(form: LogFormat, *, level: int = logging.INFO) -> None:
    """All of the process's log lines, to stderr, in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else ConsoleLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their lines about each request repeat ours, and name URLs.
    for noisy in ("httpx", "httpx2", "openai.agents", "uvicorn.access", "alembic", "chatkit"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in record.__dict__.items() if name not in STANDARD}
    return {"event": record.getMessage(), **extra.pop("fields", {}), **extra}


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name, **fields_of(record)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleLines(logging.Formatter):
    """``12:30:00 info request status=200 …``, with whatever could break a line in quotes."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = fields_of(record)
        event = plain(fields.pop("event"))
        pairs = " ".join(f"{name}={plain(value)}" for name, value in fields.items())
        line = f"{moment} {record.levelname.lower()} {event} {pairs}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def plain(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and '"' not in text else json.dumps(text)
