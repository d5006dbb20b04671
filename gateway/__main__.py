"""The command line: serve, demo, check, explain, show, kit, chat.

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
        settings = _load(options)
    except SettingsError as exc:
        print(f"gateway: {len(exc.problems)} problem(s) in the settings:", file=sys.stderr)
        for problem in exc.problems:
            print(f"  {problem}", file=sys.stderr)
        return 2
    if options.command == "explain":
        return _explain_given(settings, options)
    if options.command == "serve":
        return _serve(settings, options)
    if options.command == "check":
        return _check(settings, options)
    return _show(settings)


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    # Imported late: `--help` and a wrong settings file answer at once.
    from gateway.serving import serve
    from gateway.wire.logs import configure_logging

    configure_logging(settings.log.format, settings.log.level)
    try:
        return serve(
            _with_workers(settings, options.workers), load=lambda: _with_workers(_load(options), options.workers)
        )
    except (OSError, ValueError) as exc:
        print(f"gateway: cannot serve: {_explain(exc, settings)}", file=sys.stderr)
        return 1


def _load(options: argparse.Namespace) -> Settings:
    return load_settings(_settings_path(options.settings))


def _with_workers(settings: Settings, workers: int | None) -> Settings:
    if workers is None:
        return settings
    return settings.model_copy(update={"server": settings.server.model_copy(update={"workers": workers})})


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from gateway.check import check
    from gateway.wire.logs import configure_logging

    # What was tried is said line by line; the log would say it twice.
    configure_logging("console", "critical")
    try:
        set_cookie = _read_text(options.set_cookie_file) if options.set_cookie_file else None
    except (OSError, UnicodeDecodeError) as exc:
        # The name is not repeated: it may be the cookie itself.
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        print(f"gateway: --set-cookie-file: {reason}; it takes the name of a file, or -", file=sys.stderr)
        return 2
    return check(settings, through=options.through, set_cookie=set_cookie, offline=options.offline)


def _read_text(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")


def _explain_given(settings: Settings, options: argparse.Namespace) -> int:
    from gateway.explain.command import run_explain
    from gateway.wire.logs import configure_logging

    # As for check: what is found is printed.
    configure_logging("console", "critical")
    return run_explain(settings, options)


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


def _worker_count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 256:
        raise argparse.ArgumentTypeError(f"{count} is not between 1 and 256")
    return count


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway", description="An authenticating gateway for AI chat backends.")
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("serve", "serve until a signal"),
        ("check", "find every problem of a settings file, and try what it names"),
        ("show", "print the effective settings, secrets masked"),
        ("explain", "walk a token, a cookie or a captured request through the gateway, and say what decides"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--settings", metavar="FILE", help=f"TOML file; default: {SETTINGS_FILE}")
        if name == "serve":
            command.add_argument(
                "--workers", type=_worker_count, metavar="N", help="processes behind the port; instead of the setting"
            )
        if name == "check":
            _add_check_options(command)
        if name == "explain":
            _add_explain_options(command)
    demo = commands.add_parser("demo", help="issuer, agent backend and gateway on this machine, with a page to chat on")
    demo.add_argument("--port", type=int, default=DEMO_PORT, help="the page's port; the next two are used as well")
    demo.add_argument("--state", default=".demo", metavar="DIR", help="where conversations and logs are kept")
    demo.add_argument("--say", metavar="TEXT", help="ask this without a browser, print the answer, stop")
    kit = commands.add_parser("kit", help="the front-end kit: what to paste into a page, or a copy of its files")
    kit.add_argument("--url", type=_origin, help="the gateway's origin; default: the page's own")
    kit.add_argument("--copy", metavar="DIR", help="write the files there, for a bundler")
    add_chat_arguments(commands.add_parser("chat", help="ask an assistant from a terminal or a script"))
    return parser


def _add_check_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--offline", action="store_true", help="look at the settings alone, and contact nobody")
    command.add_argument(
        "--through",
        metavar="URL",
        help="a route of the running gateway as browsers reach it: times a stream, to find what holds events back",
    )
    command.add_argument(
        "--set-cookie-file",
        metavar="FILE",
        help="headers of the login's answer: judges its cookie; - is standard input",
    )


def _add_explain_options(command: argparse.ArgumentParser) -> None:
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--token-file", metavar="FILE", help="the token alone; - is standard input, here and below")
    given.add_argument(
        "--cookie-file",
        metavar="FILE",
        help="a Cookie header, the value of the route's cookie, or a cookie file of curl's",
    )
    given.add_argument(
        "--request-file", metavar="FILE", help="raw HTTP, output of curl -v, a command copied as cURL (bash), or a HAR"
    )
    command.add_argument("--route", metavar="NAME", help="the route a token or cookie is for, if there are several")
    command.add_argument(
        "--jwks", metavar="ISSUER=FILE", action="append", default=[], help="an issuer's keys, to work offline"
    )
    command.add_argument("--at", metavar="TIME", help="judge as of this time (ISO 8601, as in the log); default: now")


if __name__ == "__main__":
    sys.exit(main())
