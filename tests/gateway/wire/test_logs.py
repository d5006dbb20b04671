"""How log lines look, and that no value can start one of its own."""

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.credentials import CredentialRule, find_credential
from gateway.auth.cross_site import OriginPolicy, check_cross_site
from gateway.chatkit.bodies import check_content_type
from gateway.errors import GatewayError
from gateway.wire.logs import MAX_VALUE, REDACTED, ConsoleFormatter, JsonFormatter, TurnHandler, redact

NASTY = 'a\r\nb\n2026-01-01 info forged\x1b[31m\x00\u2028\x7f\x85"q"'
FORMATTERS = [pytest.param(JsonFormatter(), id="json"), pytest.param(ConsoleFormatter(), id="console")]


def entry(message: str = "request", exc_info: Any = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("gateway.access", logging.INFO, __file__, 1, message, (), exc_info)
    made.created = 0.5
    made.fields = fields
    return made


def test_json() -> None:
    """One object per line; what is not known is left out."""
    line = JsonFormatter().format(entry(status=200, route=None, user="é"))

    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "info",
        "logger": "gateway.access",
        "event": "request",
        "status": 200,
        "user": "é",
    }


def test_console() -> None:
    """One readable line; a value with a space or a quote is quoted."""
    line = ConsoleFormatter().format(entry(status=200, route=None, reason='no "x"', user="é"))

    assert line == '00:00:00 info request status=200 reason="no \\"x\\"" user="\\u00e9"'


@pytest.mark.parametrize("formatter", FORMATTERS)
@given(text=st.one_of(st.just(NASTY), st.text(max_size=30)))
def test_no_value_can_start_a_line(formatter: logging.Formatter, text: str) -> None:
    """Neither in a field nor in the message; nor can it move the cursor of a terminal."""
    line = formatter.format(entry(text, reason=text))

    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_an_exceptions_text_can_not_start_a_line_either(formatter: logging.Formatter) -> None:
    """It may quote what a client sent. A line that begins a record begins at the margin; a traceback's never does."""
    try:
        raise ValueError(NASTY)
    except ValueError:
        text = formatter.format(entry(exc_info=sys.exc_info()))
    first, *rest = text.splitlines()

    assert "ValueError" in text
    assert "\x1b" not in text
    assert [line for line in rest if not line.startswith("    ")] == []
    assert first.startswith(("{", "00:00:00 info request"))


PROGRAM = """
import logging, sys
from gateway.wire.logs import configure_logging
configure_logging(sys.argv[1], "info")
logging.getLogger("any.library").info({"not": "a string"})
logging.getLogger("any.library").debug("too little")
logging.getLogger("httpx").info("a URL with ?token=secret")
logging.getLogger("uvicorn.error").error("ASGI callable returned without completing response.")
logging.getLogger("uvicorn.error").error("Something else")
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_everything_goes_through_one_handler(style: str) -> None:
    """Other libraries' lines look like ours; what they say again of our own events, and their chatter, is left out."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, style], capture_output=True, text=True, check=True, timeout=20
    )
    lines = done.stderr.splitlines()

    assert done.stdout == ""
    assert len(lines) == 2
    assert "a string" in lines[0]
    assert "Something else" in lines[1]


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_strangers_bytes_do_not_become_megabytes_of_log(formatter: logging.Formatter) -> None:
    """A long value is cut, at both sides of the edge."""
    short = formatter.format(entry(reason="x" * 500))
    long = formatter.format(entry(reason="x" * 100_000))

    assert "x" * 500 in short
    assert "…" in long or "\\u2026" in long
    assert len(long) < 700


async def test_the_lines_of_one_turn_are_written_at_once() -> None:
    """In order, by the end of the turn; a busy gateway ends many requests in one."""
    stream = io.StringIO()
    handler = TurnHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(3):
        handler.handle(entry(f"line {number}"))
    during = stream.getvalue()
    await asyncio.sleep(0)

    assert (during, stream.getvalue()) == ("", "line 0\nline 1\nline 2\n")


def test_outside_of_a_loop_a_line_is_written_at_once() -> None:
    """A command, or a thread of its own, has no turns."""
    stream = io.StringIO()
    handler = TurnHandler(stream)
    handler.handle(entry("line"))

    assert stream.getvalue() == "line\n"


def test_a_loop_that_stopped_in_the_turn_keeps_no_line_from_the_next() -> None:
    stream = io.StringIO()
    handler = TurnHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    stopped = asyncio.new_event_loop()
    stopped.call_soon(stopped.stop)
    stopped.call_soon(handler.handle, entry("line 0"))
    stopped.run_forever()
    stopped.close()

    async def log() -> None:
        handler.handle(entry("line 1"))
        await asyncio.sleep(0)

    asyncio.run(log())

    assert stream.getvalue() == "line 0\nline 1\n"


def test_a_line_is_not_lost_to_another_threads_flush() -> None:
    """Settings are loaded, and spans sent, by threads that log as well."""
    stream, formatting, finish = io.StringIO(), threading.Event(), threading.Event()

    class Slow(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            formatting.set()
            finish.wait(5)
            return super().format(record)

    handler = TurnHandler(stream)
    handler.setFormatter(Slow())
    threads = [threading.Thread(target=handler.handle, args=[entry("line")]), threading.Thread(target=handler.flush)]
    threads[0].start()
    formatting.wait(5)
    threads[1].start()
    threads[1].join(0.2)
    finish.set()
    for thread in threads:
        thread.join(5)

    assert stream.getvalue() == "line\n"


def test_what_the_last_turn_logged_is_written_before_the_process_ends() -> None:
    """The loop stops without another turn; a process that ends writes what is left."""
    code = (
        "import asyncio, logging\n"
        "from gateway.wire.logs import configure_logging\n"
        "configure_logging('json', 'info')\n"
        "loop = asyncio.new_event_loop()\n"
        "loop.call_soon(loop.stop)\n"
        "loop.call_soon(logging.getLogger('x').info, 'last words')\n"
        "loop.run_forever()\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(child.stderr)["event"] == "last words"


def test_a_closed_standard_error_stops_nobody() -> None:
    """A log that cannot be written is no reason to fail a request."""
    stream = io.StringIO()
    handler = TurnHandler(stream)
    stream.close()
    handler.handle(entry("line"))


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLV8"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"kid {JWT!r} is unknown", f"kid '{REDACTED}' is unknown"),
        (f"before {JWT}, after", f"before {REDACTED}, after"),
        # A part of it, or one that was cut.
        (f"payload {JWT.split('.')[1]} is no object", f"payload {REDACTED} is no object"),
        (f"token {JWT[:30]}…", f"token {REDACTED}…"),
        # Five parts: encrypted.
        ("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn", REDACTED),
        ("Authorization: Bearer abc-123._~+/456=", f"Authorization: Bearer {REDACTED}"),
        ("(b'authorization', b'DPoP 0123456789ab')", f"(b'authorization', b'DPoP {REDACTED}')"),
        ("Cookie: auth_token=abc; theme=dark", f"Cookie: {REDACTED}"),
        ("set-cookie: a=b; HttpOnly", f"set-cookie: {REDACTED}"),
        ("header (b'cookie', b'auth_token=abc; x=y') twice", f"header (b'cookie', b'{REDACTED}') twice"),
        ("/files/a?signature=abc.def&w=2 is", f"/files/a?signature={REDACTED}&w=2 is"),
        ("https://user:password@keys.test/jwks", f"https://{REDACTED}@keys.test/jwks"),
        (f"target b'/\\x1b{JWT}'", f"target b'/\\x1b{REDACTED}'"),
        # What only looks a little like one.
        (
            "known: ['kVC7HBTj9t2Nw3zt0PWMfMHL5eEqX1eyJV5fC9gMj4M']",
            "known: ['kVC7HBTj9t2Nw3zt0PWMfMHL5eEqX1eyJV5fC9gMj4M']",
        ),
        ("2 cookies named auth_token, the bearer is missing", "2 cookies named auth_token, the bearer is missing"),
        ("iss 'https://a.test/?x=1', known: []", "iss 'https://a.test/?x=1', known: []"),
        ("code=token_invalid mail a@b.test", "code=token_invalid mail a@b.test"),
    ],
)
def test_what_looks_like_a_credential_is_replaced(text: str, left: str) -> None:
    """The last net; the rest of the sentence stays, because it is what helps."""
    assert redact(text) == left


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize(
    "made",
    [
        entry(reason=f"kid {JWT!r}"),
        entry(problems=[f"one {JWT}", "two"]),
        entry(reason="x" * (MAX_VALUE - 20) + " " + JWT),
    ],
)
def test_no_field_of_a_line_has_a_token(formatter: logging.Formatter, made: logging.LogRecord) -> None:
    """In a reason, in a list, and where a long value is cut within it."""
    assert "eyJ" not in formatter.format(made)


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_nor_has_an_exception_or_what_a_library_says(formatter: logging.Formatter) -> None:
    """They may quote anything. Our own messages are fixed."""
    try:
        raise ValueError(f"bad header: {JWT}")
    except ValueError:
        made = entry(f"failed with {JWT}", exc_info=sys.exc_info())
    made.name = "some.library"
    text = formatter.format(made)

    assert "eyJ" not in text
    assert text.count(REDACTED) == 2


LONG = b"\r\n\x1b[31m" + b"x" * 10_000
RULE = CredentialRule(cookie=b"auth_token", bearer=True, max_token=256)
SENT_BY_CLIENTS: dict[str, Callable[[], object]] = {
    "origin": lambda: check_cross_site("POST", [(b"origin", LONG)], OriginPolicy(allowed=frozenset())),
    "sec-fetch-site": lambda: check_cross_site("POST", [(b"sec-fetch-site", LONG)], OriginPolicy(allowed=frozenset())),
    "content-type": lambda: check_content_type(b"text/" + LONG, None),
    "content-encoding": lambda: check_content_type(b"application/json", LONG),
    "authorization": lambda: find_credential([(b"authorization", b"Bearer " + JWT.encode() + LONG)], RULE),
    "cookie": lambda: find_credential([(b"cookie", b"auth_token=" + JWT.encode() + LONG)], RULE),
}


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("header", SENT_BY_CLIENTS)
def test_header_values_of_clients_are_cut_and_escaped(formatter: logging.Formatter, header: str) -> None:
    """Whatever a reason quotes of them: one line, no control characters, no megabytes, no token."""
    with pytest.raises(GatewayError) as refused:
        SENT_BY_CLIENTS[header]()
    line = formatter.format(entry(code=refused.value.code, reason=str(refused.value)))

    assert len(line) < MAX_VALUE * 2
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert "eyJ" not in line


def test_the_level_does_not_silence_the_audit() -> None:
    """Whoever wants errors alone still learns who was refused."""
    code = (
        "import logging\n"
        "from gateway.wire.logs import configure_logging\n"
        "configure_logging('json', 'error')\n"
        "logging.getLogger('gateway.audit').info('refused')\n"
        "logging.getLogger('gateway.access').info('request')\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [json.loads(line)["logger"] for line in child.stderr.splitlines()] == ["gateway.audit"]
