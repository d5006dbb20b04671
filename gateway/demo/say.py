"""`gateway demo --say TEXT`: the whole way without a browser. Sign in, ask, print the answer as it comes, stop.

Rules: free ports and a fresh directory, so that it disturbs nothing and leaves nothing; the answer goes to standard
output piece by piece; a failure is said on standard error with the ends of the processes' logs.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from gateway.demo.hops import Record, backend_line, find_record, gateway_line
from gateway.demo.ports import Ports, free_ports
from gateway.demo.stack import build_parts, child_environment
from gateway.demo.state import State, prepare_state
from gateway.demo.supervisor import PartFailed, Supervisor, read_tail, signals_as_interrupt
from gateway.demo.talk import TalkFailed, Turn, Visitor, create_body

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
    except (PartFailed, TalkFailed, httpx.HTTPError, OSError) as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    return 0


def say(text: str, state: State, ports: Ports) -> None:
    parts = build_parts(state, ports)
    with Supervisor(parts, environment=child_environment(os.environ)) as supervisor:
        supervisor.wait_ready()
        try:
            user, turn = converse(text, ports)
        except (TalkFailed, httpx.HTTPError) as exc:
            supervisor.check()
            tails = "\n\n".join(f"The end of {part.log}:\n\n{read_tail(part.log)}" for part in parts)
            raise TalkFailed(f"{exc}\n\n{tails}") from exc
    # Everything has ended by now, so the logs are complete.
    print(hop_lines(state, turn, user), flush=True)


def converse(text: str, ports: Ports) -> tuple[Record, Turn]:
    """Sign in and ask, printing the answer as it arrives. Returns who the gateway saw, and the finished answer."""
    page = {"url": f"{ports.gateway_url}/orders", "path": "/orders", "title": "Orders", "headings": ["Orders"]}
    with httpx.Client(timeout=READ_TIMEOUT, trust_env=False) as client:
        visitor = Visitor(client, ports=ports)
        visitor.sign_in(USER)
        user = visitor.session()
        turn = visitor.ask(create_body(text, pageContext=page))
        for piece in turn.texts():
            print(piece, end="", flush=True)
        print(flush=True)
        return user, turn


def hop_lines(state: State, turn: Turn, user: Record) -> str:
    """One line per process the request went through, from what each of them logged."""
    at_gateway = need_record(state.log("gateway"), turn)
    at_backend = need_record(state.log("agent_backend"), turn)
    return f"\n{gateway_line(at_gateway, user)}\n{backend_line(at_backend)}"


def need_record(log: Path, turn: Turn) -> Record:
    record = find_record(log, turn.request_id)
    if record is None:
        raise TalkFailed(f"{log.name} has no line about request {turn.request_id}. Its end:\n\n{read_tail(log)}")
    return record
