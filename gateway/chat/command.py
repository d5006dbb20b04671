"""From arguments to an exit status: one question, or a conversation."""

import argparse
import os
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress

import httpx

from gateway import __version__
from gateway.chat.client import ChatClient, ChatFailed
from gateway.chat.conversation import Conversation
from gateway.chat.credential import (
    COOKIE_VARIABLE,
    TOKEN_VARIABLE,
    SecretProblem,
    Sources,
    find_credential,
    is_sent_readably,
)
from gateway.chat.interactive import Prompt, show_events
from gateway.chat.screen import Screen, json_view, standard_screen, text_view

COMPLETE = 0
FAILED = 1
USAGE = 2
# 128 + SIGINT, as shells report it.
INTERRUPTED = 130
# Characters. The gateway's own limit for a body is a megabyte unless a route says otherwise.
MAX_TEXT = 1_000_000


class UsageProblem(Exception):
    """The arguments cannot be used together, or one of them not at all."""


def run_chat(options: argparse.Namespace) -> int:
    """Returns the exit status."""
    screen = standard_screen(quiet=options.quiet)
    try:
        url = read_url(options.url)
        text = read_text(options)
        with build_http(options, url, screen) as http:
            origin = options.origin or f"{url.scheme}://{url.netloc.decode()}"
            # A bearer token needs no origin; a page's would only add a question that the gateway need not ask.
            named = origin if options.origin or "cookie" in http.headers else None
            client = ChatClient(http, url=str(url), origin=named, max_time=options.max_time)
            conversation = Conversation(
                client, thread_id=need_text("--thread", options.thread), metadata=options.metadata
            )
            return converse(conversation, text, options, screen)
    except (UsageProblem, SecretProblem) as exc:
        screen.complain(str(exc))
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the answer has gone (`| head`). Python would complain once more when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def converse(conversation: Conversation, text: str | None, options: argparse.Namespace, screen: Screen) -> int:
    if text is None:
        with suppress(ImportError):
            import readline  # noqa: F401  # gives `input` its history and its editing
        Prompt(conversation, screen, read_line).run()
        return COMPLETE
    view = json_view(screen) if options.json else text_view(screen)
    try:
        show_events(conversation.say(text), view, screen)
    except ChatFailed as exc:
        screen.complain(f"{exc}{'; it may be sent again' if conversation.turn.may_retry else ''}")
        return FAILED
    finally:
        if conversation.request_id:
            screen.note(f"[thread {conversation.thread_id}, request {conversation.request_id}]")
    return COMPLETE


def read_line(prompt: str) -> str:
    """One line from the terminal. Raises EOFError. The prompt does not get into a file that the answers go to."""
    if sys.stdout.isatty():
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return input()


def read_url(given: str) -> httpx.URL:
    """The route. Raises UsageProblem."""
    try:
        url = httpx.URL(given)
    except httpx.InvalidURL as exc:
        raise UsageProblem(f"--url: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageProblem(f"--url {given}: give all of it, as https://chat.example.com/chatkit")
    if url.userinfo:
        raise UsageProblem("--url: a password on the command line can be read by everybody here; use --token-file")
    return url.copy_with(path="/chatkit") if url.path == "/" else url


def read_text(options: argparse.Namespace) -> str | None:
    """The question; None for a conversation. Raises UsageProblem."""
    secret_from_stdin = "-" in (options.token_file, options.cookie_file)
    if options.text not in (None, "-"):
        return need_words(options.text)
    if secret_from_stdin:
        raise UsageProblem("standard input holds the credential: give the question as TEXT")
    if options.text is None and sys.stdin.isatty():
        if options.json:
            raise UsageProblem("--json needs a question: give TEXT, or - for standard input")
        return None
    try:
        return need_words(sys.stdin.read(MAX_TEXT + 1))
    except UnicodeDecodeError as exc:
        raise UsageProblem(f"the question is not {exc.encoding} text") from exc


def need_words(text: str) -> str:
    if not text.strip():
        raise UsageProblem("the question is empty")
    if len(text) > MAX_TEXT:
        raise UsageProblem(f"the question has more than {MAX_TEXT} characters")
    return need_text("the question", text.rstrip("\n"))


def need_text(name: str, text: str) -> str:
    """Bytes of a command line that are no text come as half characters, which no request can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise UsageProblem(f"{name} is not UTF-8 text") from exc
    return text


def build_http(options: argparse.Namespace, url: httpx.URL, screen: Screen) -> httpx.Client:
    """A client with the credential, the time-outs and the authorities. Raises UsageProblem, SecretProblem."""
    sources = Sources(token_file=options.token_file, cookie_file=options.cookie_file)
    credential = find_credential(sources, environment=os.environ, stdin=sys.stdin, url=url)
    warn(credential, url, screen)
    # Compressed events would wait for each other in somebody's buffer.
    headers = {"user-agent": f"gateway-chat/{__version__}", "accept-encoding": "identity", **credential}
    silence = options.timeout if options.max_time is None else min(options.timeout, options.max_time)
    timeout = httpx.Timeout(silence, connect=options.connect_timeout)
    authorities = build_authorities(options.ca_file)
    try:
        return httpx.Client(headers=headers, timeout=timeout, verify=authorities)
    except (ValueError, ImportError, httpx.InvalidURL) as exc:
        raise UsageProblem(f"the proxy in the environment (HTTPS_PROXY, ALL_PROXY) cannot be used: {exc}") from exc


def warn(credential: Mapping[str, str], url: httpx.URL, screen: Screen) -> None:
    if not credential:
        screen.note(f"no credential: --token-file, --cookie-file, {TOKEN_VARIABLE} or {COOKIE_VARIABLE} would give one")
    elif is_sent_readably(url):
        screen.say(f"warning: http:// sends the credential to {url.host} readable by everybody on the way")


def build_authorities(ca_file: str | None) -> ssl.SSLContext:
    """Raises UsageProblem."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as exc:
        raise UsageProblem(f"--ca-file {ca_file}: {exc}") from exc
