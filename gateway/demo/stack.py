"""The demo's three processes: which commands, which environment, how to tell that each is ready.

Rules: every part runs under `leash`; nothing from the caller's environment changes the gateway, and only the model's
settings change the backend, so that `AGENT_BACKEND_MODEL__…` tries a real model while ports and files stay ours.
"""

import sys
from collections.abc import Mapping

from gateway.demo.ports import HOST, Ports
from gateway.demo.state import State
from gateway.demo.supervisor import Part

FORGOTTEN = ("GATEWAY_", "AGENT_BACKEND_")
KEPT = ("AGENT_BACKEND_MODEL__",)


def build_parts(state: State, ports: Ports) -> list[Part]:
    """Issuer, backend and gateway. The latter two ask each other for readiness, so all start at once."""
    return [
        Part(
            name="issuer",
            command=leashed("gateway.demo.issuer", "--port", str(ports.issuer), "--gateway", ports.gateway_url),
            log=state.log("issuer"),
            probes=(f"{ports.issuer_url}/livez",),
        ),
        Part(
            name="agent backend",
            command=leashed("agent_backend", "serve", "--settings", str(state.backend_settings)),
            log=state.log("agent_backend"),
            probes=(f"{ports.backend_url}/livez",),
        ),
        Part(
            name="gateway",
            command=leashed(
                "gateway.demo.serving", "--settings", str(state.gateway_settings), "--issuer", ports.issuer_url
            ),
            log=state.log("gateway"),
            probes=(f"{ports.gateway_url}/livez", f"{ports.backend_url}/readyz", f"{ports.gateway_url}/readyz"),
        ),
    ]


def leashed(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.demo.leash", module, *arguments]


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment, less what would change the demo's settings or send loopback through a proxy."""
    kept = {name: value for name, value in environment.items() if is_kept(name)}
    exempt = ",".join(filter(None, [environment.get("NO_PROXY") or environment.get("no_proxy"), HOST]))
    return {**kept, "NO_PROXY": exempt, "no_proxy": exempt, "PYTHONUNBUFFERED": "1"}


def is_kept(name: str) -> bool:
    return name.startswith(KEPT) or not name.startswith(FORGOTTEN)
