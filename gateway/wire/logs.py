"""How log lines look: JSON for machines, one readable line for people. Both on standard error.

Rules: an event is a fixed message with named fields; every value is escaped, so that none can start a line of its own.
Decides nothing about what is logged.
"""

import asyncio
import contextlib
import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import msgspec

# uvicorn says this when an answer breaks off; our own line has said it already, with the reason.
_SAID_ALREADY = frozenset({"ASGI callable returned without completing response.", "Invalid HTTP request received."})


# Characters of one value: a reason names a header or a path, cut at 200 each.
MAX_VALUE = 500


def configure_logging(style: Literal["json", "console"], level: str) -> None:
    """Send every logger of this process through one handler."""
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    handler.addFilter(lambda record: str(record.msg) not in _SAID_ALREADY)
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


_quick = msgspec.json.Encoder()
_safe = json.JSONEncoder(default=str, separators=(",", ":"))


def _write(line: dict[str, Any]) -> str:
    """In ASCII alone. A plain line is written by the quicker encoder, which escapes no more than JSON asks for."""
    try:
        data = _quick.encode(line)
        if data.isascii() and b"\x7f" not in data:
            return data.decode("ascii")
    except (TypeError, UnicodeEncodeError):
        pass
    return _safe.encode(line)


class TurnHandler(logging.Handler):
    """Writes the lines of one turn of the event loop at once, and outside of a loop each by itself.

    A busy gateway ends dozens of requests in a turn, and a write to a pipe costs as much as a line. Nothing waits for a
    time: what is left when the process ends, `logging.shutdown` flushes.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)
            return
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        # Nobody is left to tell when standard error is gone; the request is answered all the same.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _write(line)


class ConsoleFormatter(logging.Formatter):
    """``12:00:00 info request status=200``, with a traceback below, indented, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        pairs = [f"{name}={_show(value)}" for name, value in _fields(record).items()]
        line = " ".join([_time(record)[11:19], record.levelname.lower(), _escape(record.getMessage()), *pairs])
        if not record.exc_info:
            return line
        below = [f"    {_escape(part)}" for part in self.formatException(record.exc_info).splitlines()]
        return "\n".join([line, *below])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What is known, each value cut: a stranger's bytes must not become megabytes of log."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {
        name: f"{value[:MAX_VALUE]}…" if type(value) is str and len(value) > MAX_VALUE else value
        for name, value in fields.items()
        if value is not None
    }


def _time(record: logging.LogRecord) -> str:
    whole, part = divmod(record.created, 1)
    return f"{_second(int(whole))}.{int(part * 1000):03}+00:00"


@lru_cache(maxsize=4)
def _second(since_epoch: int) -> str:
    """All lines of a second begin alike."""
    return datetime.fromtimestamp(since_epoch, UTC).isoformat()[:19]


def _show(value: Any) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)


def _escape(text: str) -> str:
    """Text that stays on its line and leaves the terminal alone."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
