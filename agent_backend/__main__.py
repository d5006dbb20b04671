"""The command line.

    agent_backend serve --settings FILE      serve until SIGTERM or SIGINT; a second one ends at once
    agent_backend migrate --settings FILE    bring the database to this version's schema; --check, --current only look
    agent_backend usage --settings FILE      print what answers have cost: --by user or thread, --since DAY
    agent_backend forget --settings FILE     delete all of one user's data: --issuer, --subject, --tenant; --dry-run

Exit status: 0 after a drained stop or a done command; 1 when it could not start or be done, and when `--check` found
something to do; 2 for bad settings, with every problem on stderr.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent_backend.access_log import configure_logging
from agent_backend.commands import run_forget, run_migrate, run_usage
from agent_backend.plugin import AgentUnusable
from agent_backend.serving import serve
from agent_backend.settings import Settings
from agent_backend.settings_file import FILE_VARIABLE, BadSettings, load_settings
from agent_backend.usage_report import parse_since

COMMANDS: dict[str, tuple[str, Callable[[Settings, argparse.Namespace], int]]] = {
    "serve": ("answer requests", lambda settings, options: serve(settings)),
    "migrate": ("bring the database's schema up to date", run_migrate),
    "usage": ("print the tokens that answers have cost", run_usage),
    "forget": ("delete all of one user's data", run_forget),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        settings = load_settings(options.settings)
    except BadSettings as exc:
        print("agent_backend: these settings cannot be used:", file=sys.stderr)
        for problem in exc.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 2
    configure_logging(settings.server.log_format)
    _, command = COMMANDS[options.command]
    try:
        return command(settings, options)
    except AgentUnusable as exc:
        print(f"agent_backend: {exc}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agent_backend", description="A ChatKit backend that trusts its gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_options = {"migrate": add_migrate_options, "usage": add_usage_options, "forget": add_forget_options}
    for name, (text, _) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in add_options:
            add_options[name](command)
        command.add_argument(
            "--settings",
            type=Path,
            default=os.environ.get(FILE_VARIABLE),
            metavar="FILE",
            help=f"a TOML file; default: ${FILE_VARIABLE}",
        )
    options = parser.parse_args(arguments)
    options.settings = Path(options.settings) if options.settings else None
    return options


def add_migrate_options(command: argparse.ArgumentParser) -> None:
    only = command.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="say what would be done; status 1 if anything would")
    only.add_argument("--current", action="store_true", help="say which schema the database has")


def add_usage_options(command: argparse.ArgumentParser) -> None:
    now = datetime.now(UTC)
    command.add_argument("--by", choices=["user", "thread"], default="user", help="one line for each; default: user")
    command.add_argument(
        "--since",
        type=lambda text: parse_since(text, now=now),
        metavar="DAY",
        help="a day of UTC as 2026-11-01, or days back as 30d; default: all",
    )
    command.add_argument("--format", choices=["table", "json"], default="table", help="json: one object per line")


def add_forget_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--issuer", required=True, help="who vouches for the user: iss of their tokens")
    command.add_argument("--subject", required=True, help="the user's id there: sub of their tokens")
    command.add_argument("--tenant", default="", help="default: what they have outside of any tenant")
    command.add_argument("--dry-run", action="store_true", help="only count")


if __name__ == "__main__":
    sys.exit(main())
