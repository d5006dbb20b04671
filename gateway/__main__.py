"""The command line: serve, demo, check, show, kit, chat.

Exit codes: 0 success, 1 what was asked did not work, 2 the settings or the arguments are wrong.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway import __version__
from gateway.chat.arguments import add_chat_arguments
from gateway.settings import SETTINGS_FILE, Settings, SettingsError, load_settings
from gateway.settings.values import check_origin

DEMO_PORT = 8080


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _build_parser().parse_args(arguments)
    if options.command == "demo":
        return _demo(options)
    if options.command == "kit":
        return _kit(options)
    if options.command == "chat":
        return _chat(options)
    try:
        settings = load_settings(_settings_path(options.settings))
    except SettingsError as exc:
        print(f"gateway: {len(exc.problems)} problem(s) in the settings:", file=sys.stderr)
        for problem in exc.problems:
            print(f"  {problem}", file=sys.stderr)
        return 2
    commands = {"serve": _serve, "check": _check, "show": _show}
    return commands[options.command](settings)


def _serve(settings: Settings) -> int:
    # Imported late: `--help` and a wrong settings file answer at once.
    from gateway.app import serve
    from gateway.wire.logs import configure_logging

    configure_logging(settings.log.format, settings.log.level)
    try:
        return serve(settings)
    except (OSError, ValueError) as exc:
        print(f"gateway: cannot serve: {_explain(exc, settings)}", file=sys.stderr)
        return 1


def _check(settings: Settings) -> int:
    from gateway.check import check
    from gateway.wire.logs import configure_logging

    # What was tried is said line by line; the log would say it twice.
    configure_logging("console", "critical")
    return check(settings)


def _show(settings: Settings) -> int:
    from gateway.check import show

    print(show(settings))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from gateway.demo import run_demo, run_say

    return run_say(options.say) if options.say is not None else run_demo(options.port, Path(options.state))


def _kit(options: argparse.Namespace) -> int:
    from gateway.kit.command import copy_kit, describe_kit

    if options.copy is None:
        print(describe_kit(options.url or ""), end="")
        return 0
    try:
        for path in copy_kit(Path(options.copy)):
            print(path)
    except OSError as exc:
        print(
            f"gateway: cannot copy to {options.copy}: {exc.strerror}; name a folder you may write to", file=sys.stderr
        )
        return 1
    return 0


def _chat(options: argparse.Namespace) -> int:
    from gateway.chat.command import run_chat

    return run_chat(options)


def _origin(value: str) -> str:
    try:
        return check_origin(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{value!r} {exc}") from exc


def _settings_path(given: str | None) -> Path | None:
    name = given or os.environ.get(SETTINGS_FILE)
    return Path(name) if name else None


# What to do about a socket that cannot be had, by errno.
_SOCKET_FIXES = {
    errno.EADDRINUSE: "stop what listens there, or set server.port",
    errno.EACCES: "ports below 1024 need a privilege: set server.port to a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address: set server.host",
}


def _explain(exc: Exception, settings: Settings) -> str:
    place = f"{settings.server.host}:{settings.server.port}"
    if isinstance(exc, OSError) and exc.errno is not None and exc.errno < 0:
        # getaddrinfo's numbers (EAI_NONAME, …) are negative, and os.strerror does not know them.
        return f"{place}: no such host; set server.host to an address of this machine"
    if isinstance(exc, OSError) and exc.filename is None and exc.errno in _SOCKET_FIXES:
        return f"{place}: {os.strerror(exc.errno)}; {_SOCKET_FIXES[exc.errno]}"
    return f"{exc}; gateway check says more"


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway", description="An authenticating gateway for AI chat backends.")
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("serve", "serve until a signal"),
        ("check", "find every problem of a settings file, and try what it names"),
        ("show", "print the effective settings, secrets masked"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--settings", metavar="FILE", help=f"TOML file; default: {SETTINGS_FILE}")
    demo = commands.add_parser("demo", help="issuer, agent backend and gateway on this machine, with a page to chat on")
    demo.add_argument("--port", type=int, default=DEMO_PORT, help="the page's port; the next two are used as well")
    demo.add_argument("--state", default=".demo", metavar="DIR", help="where conversations and logs are kept")
    demo.add_argument("--say", metavar="TEXT", help="ask this without a browser, print the answer, stop")
    kit = commands.add_parser("kit", help="the front-end kit: what to paste into a page, or a copy of its files")
    kit.add_argument("--url", type=_origin, help="the gateway's origin; default: the page's own")
    kit.add_argument("--copy", metavar="DIR", help="write the files there, for a bundler")
    add_chat_arguments(commands.add_parser("chat", help="ask an assistant from a terminal or a script"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
