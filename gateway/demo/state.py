"""What the demo keeps on disk: settings files, the gateway's signing key, the conversations, the files, the logs.

Rules: one directory, readable by its owner alone, since a cookie jar and a private key lie in it. The settings are
written anew each time, because they name the ports; the key, the database and the files stay, so that conversations
survive. The secret of signed links is new with the settings: links live for minutes and are signed when asked for.
Deleting the directory forgets everything.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.demo.people import AUDIENCE
from gateway.demo.ports import HOST, Ports

# Seconds. Ctrl-C is pressed by somebody who waits for the prompt: no balancer watches, and answers may break off.
DRAIN_TIMEOUT = 2
# Seconds. A key rotated by hand is seen at once, and a gateway that was up before its issuer asks again soon.
COOLDOWN = 1
# Seconds. Who kills the backend to see what happens finds the conversation free when it is back: a killed process keeps
# it for the lease, and who asks meanwhile waits longer than that.
LEASE, WAIT = 3, 5
# Also the audience of the gateway's assertions.
BACKEND = "assistant"
# The same backend, where it keeps what users attach.
FILES = "assistant_files"
FILES_PATH = "/attachments"
# Bytes. A photograph of a phone fits; and what a form puts around a file.
MAX_FILE = 20 * 1024 * 1024
FORM_AROUND = 1024 * 1024

Table = Mapping[str, str | int | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The files of one state directory; ``directory`` is absolute."""

    directory: Path

    @property
    def gateway_settings(self) -> Path:
        return self.directory / "gateway.toml"

    @property
    def backend_settings(self) -> Path:
        return self.directory / "agent_backend.toml"

    @property
    def signing_key(self) -> Path:
        return self.directory / "gateway-signing-key.pem"

    @property
    def database(self) -> Path:
        return self.directory / "agent.sqlite3"

    @property
    def files(self) -> Path:
        return self.directory / "attachments"

    @property
    def cookie_jar(self) -> Path:
        return self.directory / "cookies.txt"

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def prepare_state(directory: Path, ports: Ports) -> State:
    """Make the directory ready for a run on these ports."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    state = State(directory=directory.resolve())
    if not state.signing_key.exists():
        write_private(state.signing_key, new_signing_key())
    url_key = secrets.token_urlsafe(32)
    write_private(state.gateway_settings, toml_text(gateway_tables(state, ports, url_key=url_key)))
    write_private(state.backend_settings, toml_text(backend_tables(state, ports, url_key=url_key)))
    return state


def gateway_tables(state: State, ports: Ports, *, url_key: str) -> Mapping[str, Table]:
    return {
        "server": {
            "host": HOST,
            "port": ports.gateway,
            "public_url": ports.gateway_url,
            "drain_delay": 0,
            "drain_timeout": DRAIN_TIMEOUT,
        },
        "issuers.demo": {
            "issuer": ports.issuer_url,
            "jwks_url": f"{ports.issuer_url}/.well-known/jwks.json",
            "audiences": [AUDIENCE],
            "algorithms": ["RS256", "ES256"],
            "cooldown": COOLDOWN,
        },
        "trust": {"signing_keys": [str(state.signing_key)]},
        "log": {"format": "json"},
        "signed_urls": {"keys": [url_key]},
        f"backends.{BACKEND}": {"url": f"{ports.backend_url}/chatkit"},
        f"backends.{FILES}": {"url": f"{ports.backend_url}{FILES_PATH}", "audience": BACKEND},
        f"routes.{BACKEND}": {"path": "/chatkit", "backend": BACKEND, "cookie": "auth_token"},
        # By cookie: what the page itself sends, and fresh links to what it shows.
        "routes.upload": {
            "path": FILES_PATH,
            "kind": "opaque",
            "methods": ["GET", "POST"],
            "backend": FILES,
            "cookie": "auth_token",
            "max_body": MAX_FILE + FORM_AROUND,
        },
        # By signed link: what no cookie can accompany.
        "routes.files": {
            "path": f"{FILES_PATH}/",
            "kind": "opaque",
            "prefix": True,
            "methods": ["GET", "HEAD", "PUT"],
            "credential": "signed_url",
            "backend": FILES,
            "max_body": MAX_FILE + FORM_AROUND,
        },
    }


def backend_tables(state: State, ports: Ports, *, url_key: str) -> Mapping[str, Table]:
    return {
        "server": {
            "host": HOST,
            "port": ports.backend,
            "path": "/chatkit",
            "log_format": "json",
            "drain_timeout": DRAIN_TIMEOUT,
        },
        "database": {"url": f"sqlite:///{state.database}"},
        "gateway": {
            "jwks_url": f"{ports.gateway_url}/.well-known/jwks.json",
            "issuer": ports.gateway_url,
            "audience": BACKEND,
        },
        "turns": {"lease": LEASE, "wait": WAIT},
        "model": {"provider": "offline"},
        # The page shows it beside the conversation.
        "answer": {"show_context": True},
        "attachments": {
            "directory": str(state.files),
            "public_url": f"{ports.gateway_url}{FILES_PATH}",
            "path": FILES_PATH,
            "url_keys": [url_key],
            "max_bytes": MAX_FILE,
        },
    }


def toml_text(tables: Mapping[str, Table]) -> str:
    """Tables of strings, numbers, booleans and lists of strings as TOML; JSON writes them all the same way."""
    return "\n".join(f"[{name}]\n{toml_lines(table)}" for name, table in tables.items())


def toml_lines(table: Table) -> str:
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in table.items())


def new_signing_key() -> str:
    """A private key for ES256, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on, and that is never half there."""
    half = path.with_name(f"{path.name}.new")
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    half.replace(path)
