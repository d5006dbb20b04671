"""How log lines look: JSON for machines, one readable line for people. Both on standard error.

Rules: an event is a fixed message with named fields; every value is escaped, so that none can start a line of its own;
what may quote somebody else (a reason, an exception, another library's words) is cut, and what looks like a credential
in it is replaced. That is the last net: whoever writes a reason already keeps secrets out of it.
Decides nothing about what is logged.
"""

import contextlib
import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import msgspec

from gateway.wire.audit import LOGGER as AUDIT
from gateway.wire.turns import TurnEnd

# uvicorn says this when an answer breaks off; our own line has said it already, with the reason.
_SAID_ALREADY = frozenset({"ASGI callable returned without completing response.", "Invalid HTTP request received."})


# Characters of one value: a reason names a header or a path, cut at 200 each.
MAX_VALUE = 500

REDACTED = "[redacted]"

# 1. How every JWT, JWE and each of their JSON parts begins, base64url of `{"`; in the middle of a word only with its
# next part, because a key's id may have these three letters by chance. 2. Authorization's value behind its scheme;
# shorter ones are words of a sentence. 3. Cookies, as HTTP writes them and as Python shows a header. 4. Secrets in the
# query of a URL, and 5. the password in its authority.
_SECRETS = re.compile(
    r"""(?<![\w-])eyJ[\w.+/=-]*|eyJ[\w-]{8,}\.[\w.+/=-]*
    |(?i:(?P<scheme>\b(?:bearer|basic|dpop)\ +))[^\s"'\\,;]{12,}
    |(?i:(?P<cookie>cookie['"\\]*\s*(?:[:=]|,\s*b['"\\]+)\s*))[^'"\\\n]+
    |(?i:(?P<query>[?&](?:signature|access_token|id_token|refresh_token|token|code|secret|password|key)=))[^&\s"'\\]+
    |(?P<url>://)[^\s/@"'\\]+(?=@)""",
    re.VERBOSE,
)

# Of our own making, or checked to be a plain token: of no use to look into at every request.
_PLAIN_FIELDS = frozenset(
    {
        "request_id",
        "trace_id",
        "route",
        "operation",
        "user",
        "credential",
        "status",
        "ended_by",
        "code",
        "source",
        "first_byte_ms",
        "duration_ms",
        "bytes_out",
        "sample_rate",
    }
)


_NO_FIELDS: dict[str, Any] = {}


def configure_logging(style: Literal["json", "console"], level: str) -> None:
    """Send every logger of this process through one handler."""
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Whoever wants fewer lines still wants to know who was refused.
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    return str(record.msg) not in _SAID_ALREADY


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
        self._turn_end = TurnEnd(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)
            return
        self._turn_end.ask()

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
            "event": _message(record),
        }
        _add_fields(line, record)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return _write(line)


class ConsoleFormatter(logging.Formatter):
    """``12:00:00 info request status=200``, with a traceback below, indented, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {}
        _add_fields(fields, record)
        pairs = [f"{name}={_show(value)}" for name, value in fields.items()]
        line = " ".join([_time(record)[11:19], record.levelname.lower(), _escape(_message(record)), *pairs])
        if not record.exc_info:
            return line
        below = [f"    {_escape(part)}" for part in redact(self.formatException(record.exc_info)).splitlines()]
        return "\n".join([line, *below])


def _add_fields(line: dict[str, Any], record: logging.LogRecord) -> None:
    """What is known, each value cut: a stranger's bytes must not become megabytes of log."""
    fields: dict[str, Any] = getattr(record, "fields", _NO_FIELDS)
    if getattr(record, "is_plain", False):
        line |= fields
        return
    for name, value in fields.items():
        if value is not None:
            line[name] = value if name in _PLAIN_FIELDS else _tame(value)


def _message(record: logging.LogRecord) -> str:
    """Ours are fixed; what a library says may hold anything."""
    message = record.getMessage()
    return message if record.name.startswith("gateway.") else redact(message)


def _tame(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value if len(value) <= MAX_VALUE else f"{value[:MAX_VALUE]}…")
    return [_tame(item) for item in value] if isinstance(value, list | tuple) else value


def redact(text: str) -> str:
    """The text without what looks like a credential."""
    return _SECRETS.sub(lambda match: (match[match.lastgroup] if match.lastgroup else "") + REDACTED, text)


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
