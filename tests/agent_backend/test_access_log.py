"""One line per request, with stable names, and nothing in it that is nobody's business."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from agent_backend.access_log import ConsoleLines, JsonLines, fields_of
from agent_backend.app import build_app
from tests.agent_backend.world import Caller, World, thread_of
from tests.agent_backend.world import running_app as running


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the access log said."""
    handler = Lines()
    logger = logging.getLogger("agent_backend.access_log")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


async def test_a_request_is_one_line(world: World, lines: Lines) -> None:
    """Everything an operator asks about an answer, and the user only as a digest."""
    async with running(build_app(world.settings())) as http:
        caller = Caller(gateway=world.gateway, http=http, claims={"request_id": "r-1"})
        thread_id = thread_of(await caller.say("A secret question."))
        await http.get("/livez")

    [record] = lines.records
    fields = fields_of(record)
    duration, first_byte, size = (fields.pop(name) for name in ("duration", "first_byte", "bytes"))
    assert 0 < first_byte <= duration
    assert size > 1000
    assert fields == {
        "event": "request",
        "method": "POST",
        "request_id": "r-1",
        "user": fields["user"],
        "operation": "threads.create",
        "thread_id": thread_id,
        "items": 1,
        "tokens_in": 0,
        "tokens_out": 0,
        "status": 200,
        "ended_by": "complete",
    }
    for form in (JsonLines(), ConsoleLines()):
        line = form.format(record)
        assert not any(word in line for word in ("secret", "alice", "Alice", "example.test", "eyJ"))


async def test_a_refusal_says_why_to_the_operator_only(world: World, lines: Lines) -> None:
    """The log has the reason with both names; the answer has a code."""
    async with running(build_app(world.settings())) as http:
        caller = Caller(gateway=world.gateway, http=http, claims={"aud": "billing\nx"})
        response = await caller.send("threads.list")

    fields = fields_of(lines.records[0])
    assert fields["code"] == "assertion_wrong_audience"
    assert fields["reason"] == "aud 'billing\\nx', expected 'support'"
    assert "billing" not in response.text


@pytest.mark.parametrize("form", [JsonLines(), ConsoleLines()])
@pytest.mark.parametrize("value", ["a\nb", 'a" event=forged', "a\u2028b", "\x1b[31m"])
def test_no_value_breaks_a_line(form: logging.Formatter, value: str) -> None:
    """A thread's id comes from the client: it cannot forge a second line or a second field."""
    record = logging.makeLogRecord({"msg": "request", "levelname": "INFO", "thread_id": value})

    line = form.format(record)

    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_json_lines_are_json() -> None:
    """For collectors."""
    record: Any = logging.makeLogRecord({"msg": "request", "levelname": "INFO", "status": 200, "name": "x"})
    line = json.loads(JsonLines().format(record))

    assert (line["event"], line["level"], line["status"]) == ("request", "info", 200)
    assert line["time"].endswith("+00:00")
