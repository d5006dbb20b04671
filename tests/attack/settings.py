"""The settings files of the processes under attack."""

from collections.abc import Mapping
from pathlib import Path

from tests.attack.issuers import IssuerAtWork
from tests.attack.requests import ORIGIN, PUBLIC_URL
from tests.support.unlimited import NO_LIMITS

# Small, so that a row can step over it: tokens, seconds.
VERIFIED_TOKENS = 100
HEAD_TIMEOUT = 1.2
# Bytes an opaque route takes, and hands out.
MAX_UPLOAD, MAX_DOWNLOAD = 4096, 65536
MAX_MINUTES = 30
# Secrets of signed URLs: the first is on its way out.
OLD_URL_KEY, URL_KEY = "mark-old-secret-of-32-characters!", "mark-new-secret-of-32-characters!"
KEEP = 2.0

_GATEWAY = """
[server]
port = {port}
public_url = "{public_url}"
drain_delay = 0
drain_timeout = 1
head_timeout = {head_timeout}
max_head = 131072
verified_tokens = {verified_tokens}
[trust]
signing_keys = ["{folder}/signing.pem"]
[backends.plain]
url = "http://127.0.0.1:{backend}/chatkit"
[backends.agent]
url = "http://127.0.0.1:{agent}/chatkit"
[backends.files]
url = "http://127.0.0.1:{backend}/store"
[signed_urls]
keys = ["{old_url_key}", "{url_key}"]
max_minutes = {max_minutes}
# Looks like the agent's backend to the gateway, and keeps what was meant for it.
[backends.stolen]
url = "http://127.0.0.1:{backend}/chatkit"
audience = "agent"
"""

# name: path, backend, what else it says
_ROUTES = {
    "main": ("/chatkit", "plain", 'cookie = "auth_token"'),
    "private": ("/private", "plain", 'cookie = "auth_token"\nforward_token = false'),
    "host": ("/host", "plain", 'cookie = "__Host-auth"'),
    "cookie_only": ("/cookie-only", "plain", 'cookie = "auth_token"\nbearer = false'),
    "narrow": ("/narrow", "plain", 'issuers = ["one"]\noperations = ["threads.list"]'),
    "extra": ("/extra", "plain", 'cookie = "auth_token"\nforward_headers = ["x-page"]'),
    "hurried": ("/hurried", "plain", "body_timeout = 0.5\nmax_body = 4096"),
    "agent": ("/agent", "agent", 'cookie = "auth_token"'),
    "stolen": ("/stolen", "stolen", ""),
}

_OPAQUE = f"max_body = {MAX_UPLOAD}\nmax_answer = {MAX_DOWNLOAD}\nbody_timeout = 0.5\n"
_FILES = f'kind = "opaque"\nprefix = true\nmethods = ["GET", "PUT"]\n{_OPAQUE}'
_RULED = """cookie = "auth_token"
[routes.ruled.require]
scopes = ["chat"]
roles = ["member", "admin"]
claims = {plan = ["pro"]}
[routes.ruled.rules."threads.delete"]
roles = ["admin"]
"""
_ROUTES |= {
    "files": ("/files/", "files", f'{_FILES}cookie = "auth_token"'),
    "signed": ("/signed/", "files", f'{_FILES}credential = "signed_url"\nissuers = ["main", "tenants"]'),
    "agent_files": ("/agent-files", "agent", 'kind = "opaque"\nmethods = ["POST"]'),
    "ruled": ("/ruled", "plain", _RULED),
}

_FADING = """
[server]
port = {port}
public_url = "{public_url}"
drain_delay = 0
[issuers.fading]
issuer = "https://flaky.test"
jwks_url = "{keys}/fading"
audiences = ["chat"]
keep = {keep}
cooldown = 0.5
[backends.plain]
url = "http://127.0.0.1:{backend}/chatkit"
[routes.main]
path = "/chatkit"
backend = "plain"
{limits}
"""

_AGENT = """
[server]
port = {port}
log_format = "json"
[database]
url = "sqlite:///{folder}/agent.sqlite3"
[gateway]
jwks_url = "{keys}/own"
issuer = "{public_url}"
audience = "agent"
[model]
word_delay = 0
"""


def write(
    folder: Path, ports: Mapping[str, int], issuers: Mapping[str, IssuerAtWork], *, keys: str, backend_port: int
) -> dict[str, Path]:
    """Write the three files; returns them by the name of their process."""
    values = {
        "folder": folder,
        "public_url": PUBLIC_URL,
        "keys": keys,
        "backend": backend_port,
        "agent": ports["agent"],
        "head_timeout": HEAD_TIMEOUT,
        "verified_tokens": VERIFIED_TOKENS,
        "keep": KEEP,
        "old_url_key": OLD_URL_KEY,
        "url_key": URL_KEY,
        "max_minutes": MAX_MINUTES,
    }
    tables = [table.toml(name, keys) for name, table in issuers.items()]
    tables += [
        f'[routes.{name}]\npath = "{path}"\nbackend = "{backend}"\n{NO_LIMITS}\nallowed_origins = ["{ORIGIN}"]\n'
        f"{rest}\n"
        for name, (path, backend, rest) in _ROUTES.items()
    ]
    texts = {
        "gateway": _GATEWAY.format(port=ports["gateway"], **values) + "\n".join(tables),
        "fading": _FADING.format(port=ports["fading"], limits=NO_LIMITS, **values),
        "agent": _AGENT.format(port=ports["agent"], **values),
    }
    files = {name: folder / f"{name}.toml" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return files
