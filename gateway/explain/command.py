"""`gateway explain` from its arguments: reads the file or standard input, prints the steps, returns the exit code.

0 accepted, 1 refused, 2 what was given cannot be explained. Secrets are never arguments: those stand in the list of
processes and in the shell's history.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.explain import NotExplained, explain, read_given, use_key_files
from gateway.explain.given import Kind
from gateway.settings import Settings

# Bytes. A HAR of a page with its pictures has some ten million.
MAX_INPUT: Final = 64 * 1024 * 1024

STANDARD_INPUT: Final = "-"


def run_explain(settings: Settings, options: argparse.Namespace) -> int:
    """Explain what ``options`` name: one of token_file, cookie_file, request_file; and route, jwks, at."""
    try:
        kind, name = _find_file(options)
        settings = use_key_files(settings, _read_key_files(options.jwks))
        clock = _read_clock(options.at)
        given = read_given(kind, _read(kind, name), settings, options.route)
    except NotExplained as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 2
    return explain(settings, given, clock=clock)


def _find_file(options: argparse.Namespace) -> tuple[Kind, str]:
    kinds: Mapping[Kind, str | None] = {
        "token": options.token_file,
        "cookie": options.cookie_file,
        "request": options.request_file,
    }
    return next((kind, name) for kind, name in kinds.items() if name is not None)


def _read(kind: Kind, name: str) -> bytes:
    try:
        if name == STANDARD_INPUT:
            data = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_INPUT + 1)
    except OSError as exc:
        # The name is not repeated: it may be the token itself.
        raise NotExplained(
            f"--{kind}-file: {exc.strerror}; it takes the name of a file, or - for standard input, never the secret"
        ) from None
    if len(data) > MAX_INPUT:
        raise NotExplained(f"--{kind}-file: more than {MAX_INPUT} bytes; cut it to the one request")
    return data


def _read_key_files(given: list[str]) -> dict[str, Path]:
    files = {}
    for text in given:
        issuer, equals, file = text.partition("=")
        if not equals or not file:
            raise NotExplained("--jwks: takes ISSUER=FILE, the issuer by the name of its table")
        if not Path(file).is_file():
            raise NotExplained(f"--jwks: no file {file}")
        files[issuer] = Path(file)
    return files


def _read_clock(at: str | None) -> Callable[[], float]:
    if at is None:
        return time.time
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise NotExplained("--at: takes a time as the log has it, such as 2026-01-31T03:14:15+00:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = moment.timestamp()
    return lambda: seconds
