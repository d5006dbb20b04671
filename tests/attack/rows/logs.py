"""After everything: what the processes wrote while the other rows ran. These rows come last."""

import json
import re

from tests.attack.marks import BODY, COOKIE, EMAIL, MARK, NAME, SUBJECT, TOKEN
from tests.attack.row import Attack, Trial
from tests.attack.world import World

# Lines for people that the processes print besides the log.
_PLAIN = re.compile(r"(gateway|agent_backend) ready on |gateway: \d+ problem|  \S")


def _lines(world: World) -> list[str]:
    return [line for path in sorted(world.folder.glob("*.log")) for line in path.read_text().splitlines()]


def _nothing_secret(world: World) -> str:
    lines = _lines(world)
    found = [line for line in lines if any(_is_in(secret, line) for secret in _secrets_of(line))]
    assert not found, f"{len(found)} of {len(lines)} lines, the first: {found[0][:1500]}"
    return f"{len(lines)} lines, none of them"


def _is_in(secret: str, line: str) -> bool:
    """A key's id is random letters, and has the three that tokens begin with in its middle now and then."""
    return secret in line and (secret != TOKEN or bool(re.search(rf"(?<![\w-]){TOKEN}|{TOKEN}[\w-]+\.", line)))


def _secrets_of(line: str) -> tuple[str, ...]:
    """A refusal by a rule shows the roles, scopes or claim that the rule looked at, and still nothing personal."""
    if '"code":"access_denied"' in line:
        return SUBJECT, NAME, EMAIL, BODY, COOKIE, TOKEN
    return MARK, TOKEN, "PRIVATE KEY"


def _each_line_parses(world: World) -> str:
    lines = _lines(world)
    for line in lines:
        if _PLAIN.match(line):
            continue
        try:
            event = json.loads(line)
        except ValueError:
            raise AssertionError(f"no JSON: {line[:300]}") from None
        assert event["event"], line
        assert event["level"], line
    return f"{len(lines)} lines"


def _no_bug(world: World) -> str:
    """No row is a bug of ours: nothing unexpected was caught, and nothing answered 500."""
    events = [json.loads(line) for line in _lines(world) if line.startswith("{")]
    bugs = [event for event in events if event.get("exception") or event.get("status") == 500]
    assert not bugs, f"{len(bugs)}: {str(bugs[0])[:1500]}"
    return f"{len(events)} events"


ROWS: list[Attack] = [
    Trial(
        threat="nothing sensitive in logs",
        name="no token, cookie, body or claim",
        wanted="in no line",
        trial=_nothing_secret,
    ),
    Trial(
        threat="no line break in logs",
        name="every line is one JSON object",
        wanted="all parse",
        trial=_each_line_parses,
    ),
    Trial(threat="never a 5xx", name="no traceback and no 500", wanted="none", trial=_no_bug),
]
