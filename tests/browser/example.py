"""An example of `deploy/examples` with a page: its own settings files, on ports of the test's, before real processes.

The files are copied first and the addresses in them replaced; nothing else is.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.demo.issuer import DemoIssuer, build_issuer
from gateway.demo.people import TOKEN_LIFETIME
from tests.attack.processes import ROOT, Service, service
from tests.support.servers import free_port, serve

EXAMPLES = "deploy/examples"
# What stands in for the official script, and where that would come from.
STUB = (ROOT / "tests/browser/chatkit_stub.js").read_text("utf-8")
SCRIPT = "https://cdn.platform.openai.com/**"
# Seconds. A lag that makes a token too old, clock differences forgiven.
EXPIRED = TOKEN_LIFETIME + 600.0


@dataclass
class Clock:
    """The issuer's; ``lag`` in seconds."""

    lag: float = 0

    def __call__(self) -> float:
        return time.time() - self.lag


@dataclass(kw_only=True)
class World:
    """Where everything is, and what can be done to it. ``folder`` takes settings, logs and the database."""

    folder: Path
    example: Path
    page_port: int = field(default_factory=free_port)
    issuer_port: int = field(default_factory=free_port)
    gateway_port: int = field(default_factory=free_port)
    backend_port: int = field(default_factory=free_port)
    clock: Clock = field(default_factory=Clock)
    processes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    backend: Service | None = None

    @property
    def url(self) -> str:
        return address(self.page_port)

    @property
    def gateway_url(self) -> str:
        return address(self.gateway_port)

    @property
    def issuer_url(self) -> str:
        return address(self.issuer_port)

    @property
    def backend_log(self) -> str:
        return (self.folder / "agent_backend.log").read_text()

    def fill(self, name: str) -> Path:
        """A file of the example with this test's ports in it, in the folder."""
        text = (self.example / name).read_text("utf-8")
        for port, ours in {
            3000: self.page_port,
            8081: self.issuer_port,
            8080: self.gateway_port,
            9000: self.backend_port,
        }.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ours}").replace(f"port = {port}", f"port = {ours}")
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def start_backend(self) -> None:
        """In the folder's own database, which is there again when the backend is."""
        path = self.fill("agent_backend.toml")
        # A killed process's thread is free again soon: the default is half a minute.
        more = f'[database]\nurl = "sqlite:///{self.folder / "agent.sqlite3"}"\n[turns]\nlease = 1\n'
        path.write_text(f"{path.read_text()}\n{more}")
        self.backend = self.processes.enter_context(service("agent_backend", path, port=self.backend_port))
        wait_until_ok(f"{address(self.backend_port)}/readyz")

    def kill_backend(self) -> None:
        """As the kernel does it when memory is short."""
        assert self.backend is not None
        self.backend.process.kill()
        self.backend.process.wait()


@contextlib.contextmanager
def running_services(world: World) -> Iterator[None]:
    """Issuer, gateway and backend; more may be put on ``world.processes``, and all ends in reverse."""
    issuer = DemoIssuer(url=world.issuer_url, gateway_url=world.url, clock=world.clock)
    with world.processes as processes:
        processes.enter_context(serve(build_issuer(issuer), port=world.issuer_port))
        settings = world.fill("gateway.toml")
        # Nobody balances over it here, who would have to see that it is about to go.
        text = settings.read_text("utf-8").replace("[server]\n", "[server]\ndrain_delay = 0\n", 1)
        settings.write_text(text, "utf-8")
        gateway = processes.enter_context(service("gateway", settings, port=world.gateway_port))
        gateway.await_line("gateway ready")
        world.start_backend()
        yield


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def wait_until_ok(url: str) -> None:
    """Return once it answers 200."""
    deadline = time.monotonic() + 60
    with httpx.Client(trust_env=False, timeout=5) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url} does not answer")
            time.sleep(0.05)
