"""Which ports the demo listens on."""

import re
import socket
from dataclasses import astuple

import pytest

from gateway.demo.ports import Ports, PortTaken, check_ports, free_ports, ports_from


def test_the_others_follow_the_gateway() -> None:
    """One number to remember."""
    assert ports_from(8080) == Ports(gateway=8080, issuer=8081, backend=8082)


def test_free_ports_are_three_and_free() -> None:
    """What `--say` runs on never collides with itself."""
    ports = free_ports()

    assert len(set(astuple(ports))) == 3
    check_ports(ports)


def test_a_taken_port_is_named_with_the_fix() -> None:
    """Which port, whose it would be, and what to type instead."""
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports.issuer)), pytest.raises(PortTaken) as refusal:
        check_ports(ports)

    line = rf"Port {ports.issuer} \(issuer\) is already in use\.\n"
    assert re.fullmatch(line + r"Try: make demo PORT=(\d+)   or: gateway demo --port \1", str(refusal.value))


@pytest.mark.parametrize("base", [0, -1, 65534, 65536])
def test_a_port_that_does_not_exist_is_said_so(base: int) -> None:
    """The backend's port is two above: 65534 is too high."""
    with pytest.raises(PortTaken, match="does not exist"):
        check_ports(ports_from(base))
