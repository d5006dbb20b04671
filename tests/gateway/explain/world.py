"""An issuer whose keys are in a file, settings that name it, and `gateway explain` over them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.__main__ import main
from tests.support.issuer import Issuer

ORIGIN = "https://app.example.com"
LISTING = b'{"type":"threads.list","params":{}}'

TOML = """
[server]
port = 0
public_url = "https://chat.example.com"
drain_delay = 0

[issuers.main]
issuer = "{issuer}"
jwks_url = "https://nowhere.invalid/jwks"
audiences = ["chat"]
{issuers}
[backends.support]
url = "http://127.0.0.1:1/chatkit"

[routes.support]
path = "/chatkit"
backend = "support"
cookie = "auth_token"
allowed_origins = ["https://app.example.com"]
{routes}
"""


@dataclass(frozen=True, slots=True)
class Explained:
    """What the command said: its exit code and its lines."""

    code: int
    out: str
    err: str = ""

    @property
    def steps(self) -> dict[str, tuple[str, str]]:
        """Mark and value by the step's name."""
        lines = [line for line in self.out.splitlines() if line[:6] in ("ok    ", "FAIL  ", "-     ")]
        parts = [(line[:4].strip(), *line[6:].split("  ", 1)) for line in lines]
        return {name.strip(): (mark, value.strip()) for mark, name, value in parts}

    @property
    def verdict(self) -> str:
        """``accepted``, or the refusal's code."""
        line = next(line for line in self.out.splitlines() if line.startswith(("accepted", "refused: ")))
        return line.split()[-1] if line.startswith("refused") else line

    @property
    def change(self) -> str:
        return next(line for line in self.out.splitlines() if line.startswith("change: ")).removeprefix("change: ")


@dataclass
class World:
    """Settings in a folder; keyword arguments add to their tables."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    issuers: str = ""
    routes: str = ""
    issuer: Issuer = field(default_factory=lambda: Issuer(issuer="https://login.example.com"))

    def __post_init__(self) -> None:
        self.settings = self.folder / "gateway.toml"
        self.keys = self.folder / "jwks.json"
        text = TOML.format(issuer=self.issuer.issuer, issuers=self.issuers, routes=self.routes)
        self.settings.write_text(text, "utf-8")
        self.keys.write_text(json.dumps(self.issuer.jwks()))

    def explain(self, kind: str, data: bytes | str, *more: str) -> Explained:
        """`gateway explain` with ``data`` in a file, offline."""
        path = self.folder / "given"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return self.run(f"--{kind}-file", str(path), "--jwks", f"main={self.keys}", *more)

    def run(self, *arguments: str) -> Explained:
        self.capsys.readouterr()
        code = main(["explain", "--settings", str(self.settings), *arguments])
        return Explained(code, *self.capsys.readouterr())

    def request(self, *headers: str, method: str = "POST", target: str = "/chatkit", body: bytes = LISTING) -> bytes:
        """A request as it is on the wire; with a good cookie of a good page unless ``headers`` are given."""
        token = self.issuer.token()
        given = headers or (f"Cookie: auth_token={token}", f"Origin: {ORIGIN}", "Content-Type: application/json")
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *given, *length]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
