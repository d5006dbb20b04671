"""`gateway demo --say TEXT`: the whole way without a browser. Sign in, ask, print the answer as it comes, stop.

Rules: free ports and a fresh directory, so that it disturbs nothing and leaves nothing; the answer goes to standard
output piece by piece; a failure is said on standard error with the ends of the processes' logs.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from gateway.chat.client import ChatFailed
from gateway.chat.conversation import Conversation
from gateway.chat.interactive import show_events
from gateway.chat.screen import standard_screen, text_view
from gateway.demo.hops import Record, backend_line, find_record, gateway_line
from gateway.demo.ports import Ports, free_ports
from gateway.demo.stack import build_parts, child_environment
from gateway.demo.state import State, prepare_state
from gateway.demo.supervisor import PartFailed, Supervisor, read_tail, signals_as_interrupt
from gateway.demo.talk import Visitor

USER = "alice"
# Seconds without a byte. Longer than any heartbeat interval, so only a dead gateway reaches it.
READ_TIMEOUT = 60.0
# 128 + SIGINT, as shells report it.
INTERRUPTED = 130


def run_say(text: str) -> int:
    """Ask one question.

    Returns:
        The exit status: 0 once the answer is complete, 1 if anything failed, 130 when interrupted.
    """
    try:
        with signals_as_interrupt(), TemporaryDirectory(prefix="gateway-demo-") as directory:
            ports = free_ports()
            say(text, prepare_state(Path(directory), ports), ports)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (PartFailed, ChatFailed, httpx.HTTPError, OSError) as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    return 0


def say(text: str, state: State, ports: Ports) -> None:
    parts = build_parts(state, ports)
    with Supervisor(parts, environment=child_environment(os.environ)) as supervisor:
        supervisor.wait_ready()
        try:
            user, request_id = converse(text, ports)
        except (ChatFailed, httpx.HTTPError) as exc:
            supervisor.check()
            tails = "\n\n".join(f"The end of {part.log}:\n\n{read_tail(part.log)}" for part in parts)
            raise ChatFailed(f"{exc}\n\n{tails}") from exc
    # Everything has ended by now, so the logs are complete.
    print(hop_lines(state, request_id, user), flush=True)


def converse(text: str, ports: Ports) -> tuple[Record, str]:
    """Sign in and ask, printing the answer as it arrives. Returns who the gateway saw, and the request's id."""
    page = {"url": f"{ports.gateway_url}/orders", "path": "/orders", "title": "Orders", "headings": ["Orders"]}
    # Progress and notices would go between the answer and the logs that are shown where something fails.
    screen = standard_screen(quiet=True)
    with httpx.Client(timeout=READ_TIMEOUT, trust_env=False) as client:
        visitor = Visitor(client, ports=ports)
        visitor.sign_in(USER)
        user = visitor.session()
        conversation = Conversation(visitor.chat, metadata={"pageContext": page})
        show_events(conversation.say(text), text_view(screen), screen)
        return user, conversation.request_id


def hop_lines(state: State, request_id: str, user: Record) -> str:
    """One line per process the request went through, from what each of them logged."""
    at_gateway = need_record(state.log("gateway"), request_id)
    at_backend = need_record(state.log("agent_backend"), request_id)
    return f"\n{gateway_line(at_gateway, user)}\n{backend_line(at_backend)}"


def need_record(log: Path, request_id: str) -> Record:
    record = find_record(log, request_id)
    if record is None:
        raise ChatFailed(f"{log.name} has no line about request {request_id}. Its end:\n\n{read_tail(log)}")
    return record
