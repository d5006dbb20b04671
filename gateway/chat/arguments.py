"""What may be typed after `gateway chat`. Knows nothing of HTTP: `gateway --help` answers at once."""

import argparse
import json
import math
import re
from typing import Any

DESCRIPTION = """\
Ask an assistant behind a gateway, and print the answer as it comes. Without TEXT: a conversation at a terminal,
or the question from standard input.
"""
EPILOG = """\
The credential never stands on the command line, where everybody on the machine could read it: --token-file,
--cookie-file (a file of curl's or a line name=value), or CHAT_TOKEN or CHAT_COOKIE in the environment.

The answer goes to standard output; progress, notices and errors to standard error. Exit codes: 0 the answer is
complete, 1 it was refused or failed, 2 the arguments are wrong, 130 Ctrl-C.

  gateway chat --url https://chat.example.com/chatkit --token-file token "What is new?"
  curl -c jar -d user=alice http://127.0.0.1:8081/login
  gateway chat --url http://127.0.0.1:8080 --cookie-file jar "Who am I?"
"""
# Seconds. The gateway sends a heartbeat every 15: four of them missing is no slow model but a dead line.
SILENCE = 60.0
CONNECT = 10.0


def add_chat_arguments(parser: argparse.ArgumentParser) -> None:
    """Put the arguments of `gateway chat` onto its parser."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    # `--token abc` must not pass for `--token-file abc`: it would be refused with the token in the message.
    parser.allow_abbrev = False
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the question; - reads it from standard input")
    parser.add_argument("--url", required=True, help="the route, as a page has it; without a path: /chatkit")
    parser.add_argument("--thread", default="", metavar="ID", help="go on in this conversation")
    parser.add_argument("--json", action="store_true", help="print the events, one line of JSON each")
    parser.add_argument("--quiet", action="store_true", help="no progress, no notices, no ids; errors only")
    parser.add_argument(
        "--metadata", type=read_object, metavar="JSON", help="what the agent is told besides: '{\"pageContext\": …}'"
    )
    secrets = parser.add_mutually_exclusive_group()
    secrets.add_argument("--token-file", metavar="FILE", help="a bearer token; - reads it from standard input")
    secrets.add_argument("--cookie-file", metavar="FILE", help="cookies; - reads them from standard input")
    parser.add_argument(
        "--origin", type=read_origin, help="the page that a cookie is sent for; default: the origin of --url"
    )
    parser.add_argument("--ca-file", metavar="PEM", help="authorities of an https gateway; default: the system's")
    parser.add_argument(
        "--connect-timeout", type=read_seconds, default=CONNECT, metavar="S", help=f"for the connection ({CONNECT:g})"
    )
    parser.add_argument(
        "--timeout", type=read_seconds, default=SILENCE, metavar="S", help=f"without a byte ({SILENCE:g})"
    )
    parser.add_argument("--max-time", type=read_seconds, metavar="S", help="for one whole answer; default: no limit")


def read_seconds(text: str) -> float:
    """More than nothing, less than forever."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def read_origin(text: str) -> str:
    """A page's origin, as browsers write it."""
    if not re.fullmatch(r"https?://[!-.0-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; it looks like https://app.example.com")
    return text


def read_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
        # What Python takes and nobody else does: NaN, half a character.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value
