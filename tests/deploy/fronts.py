"""A proxy in front, as our file sets it up: started with this test's ports and certificate instead of the file's own.

Rules: everything else in the file stays as it is; a place that is not in it any more is an error.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.files import PROXIES
from tests.support.servers import free_port
from tests.support.tls import build_server_context

# Seconds until a proxy listens, on a busy machine.
PATIENCE = 20.0

NAME = "chat.example.com"
# What a distribution's nginx.conf has around the files of conf.d.
AROUND = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chatkit.conf;
}}
"""


def nginx_files(folder: Path, *, port: int, gateway: int) -> Path:
    """The snippet with these ports, and a main file that includes it; gives the main file."""
    build_server_context(folder, names=(NAME,))
    text = put(
        (PROXIES / "nginx.conf").read_text(),
        {
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{gateway};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/chat.example.com.pem": f"{folder}/server.pem",
            "/etc/ssl/private/chat.example.com.key": f"{folder}/server.pem",
        },
    )
    (folder / "chatkit.conf").write_text(text)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    return folder / "nginx.conf"


def caddy_file(folder: Path, *, port: int, gateway: int) -> Path:
    """The same for Caddy, which would ask a public authority for its certificate."""
    build_server_context(folder, names=(NAME,))
    text = put(
        (PROXIES / "Caddyfile").read_text(),
        {
            "\nchat.example.com {\n": (
                f"\n{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {folder}/server.pem {folder}/server.pem\n"
            ),
            "127.0.0.1:8080": f"127.0.0.1:{gateway}",
        },
    )
    path = folder / "Caddyfile"
    path.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    return path


def put(text: str, places: dict[str, str]) -> str:
    for old, new in places.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, gateway: int) -> Iterator[int]:
    port = free_port()
    path = nginx_files(folder, port=port, gateway=gateway)
    with started(["nginx", "-p", str(folder), "-c", str(path)], folder, port):
        yield port


@contextmanager
def caddy(folder: Path, gateway: int) -> Iterator[int]:
    port = free_port()
    path = caddy_file(folder, port=port, gateway=gateway)
    with started(["caddy", "run", "--adapter", "caddyfile", "--config", str(path)], folder, port):
        yield port


@contextmanager
def started(command: list[str], folder: Path, port: int) -> Iterator[None]:
    log = folder / "front.log"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while not listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            # nginx's workers go with their master only if it is asked; killed, it leaves them.
            process.terminate()
            process.wait(PATIENCE)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
