"""`gateway demo`: the three processes until Ctrl-C, and what to click or paste.

Rules: a taken port is said before anything starts; being stopped is success; a part that ends by itself is a failure
whose reason is on the terminal.
"""

import json
import os
import shlex
import sys
from pathlib import Path

from gateway.chat.bodies import create_body
from gateway.demo.people import PEOPLE, Person
from gateway.demo.ports import Ports, PortTaken, check_ports, ports_from
from gateway.demo.stack import build_parts, child_environment
from gateway.demo.state import State, prepare_state
from gateway.demo.supervisor import PartFailed, Supervisor, signals_as_interrupt


def run_demo(port: int, directory: Path) -> int:
    """Run everything until told to stop.

    Args:
        port: The gateway's; the issuer and the backend take the two after it.
        directory: Where settings, conversations and logs go.

    Returns:
        The exit status: 0 when stopped by a signal, 1 when something failed (the reason is on standard error).
    """
    ports = ports_from(port)
    try:
        check_ports(ports)
        with signals_as_interrupt():
            run_until_stopped(prepare_state(directory, ports), ports)
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
        return 0
    except (PortTaken, PartFailed, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def run_until_stopped(state: State, ports: Ports) -> None:
    parts = build_parts(state, ports)
    print(f"Starting {', '.join(part.name for part in parts)} ...", flush=True)
    with Supervisor(parts, environment=child_environment(os.environ)) as supervisor:
        supervisor.wait_ready()
        print(invitation(state, ports), flush=True)
        supervisor.watch()


def invitation(state: State, ports: Ports) -> str:
    """What to do now, for the person at the terminal."""
    people = "\n".join(f"    {describe_person(person)}" for person in PEOPLE.values())
    return f"""
Open this page and sign in; there are no passwords:

    {ports.gateway_url}/

{people}

Or paste this into another terminal; it signs in as alice and asks:

{curl_line(ports, state.cookie_jar)}

Conversations, settings and logs are in {state.directory}. Ctrl-C stops everything.
"""


def describe_person(person: Person) -> str:
    return f"{person.id:<8}{person.name:<16}{', '.join(person.roles)}"


def curl_line(ports: Ports, cookie_jar: Path) -> str:
    """One line for a shell: get the cookie from the issuer, then ask through the gateway, unbuffered."""
    jar = shlex.quote(str(cookie_jar))
    body = shlex.quote(json.dumps(create_body("Who am I?"), separators=(",", ":")))
    return (
        f"curl -fsS -c {jar} -d user=alice {ports.issuer_url}/login && "
        f"curl -sS -N -b {jar} -H 'Origin: {ports.gateway_url}' -H 'Content-Type: application/json' "
        f"-d {body} {ports.gateway_url}/chatkit"
    )
