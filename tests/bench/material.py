"""What a run needs on disk: an issuer's keys, users' tokens, the gateway's key, requests. Thrown away after it."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.scenarios import Scenario
from tests.support.issuer import Issuer

PUBLIC_URL = "http://chat.bench.test"
ISSUER = "https://login.bench.test"
AUDIENCE = "chat"
USERS = 64
# Seconds. Longer than any run.
LIFETIME = 12 * 3600

# What a browser sends besides.
_HEADERS = """\
POST /chatkit HTTP/1.1
Host: chat.bench.test
Connection: keep-alive
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Accept: text/event-stream, application/json
Accept-Encoding: gzip, deflate, br
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Content-Type: application/json
Content-Length: {length}
Origin: {origin}
Referer: {origin}/reports
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
Cookie: theme=dark; consent=1; auth_token={token}

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Where it is, and the users' tokens."""

    folder: Path
    tokens: tuple[str, ...]

    def write_requests(self, scenario: Scenario) -> Path:
        """One request per user, as the load program takes them; returns the file."""
        body = build_body(scenario)
        path = self.folder / f"{scenario.name}.requests"
        with path.open("wb") as file:
            for token in self.tokens:
                head = _HEADERS.format(length=len(body), origin=PUBLIC_URL, token=token).replace("\n", "\r\n")
                request = head.encode() + body
                file.write(b"%d\n" % len(request) + request)
        return path


def write_material(folder: Path) -> Material:
    """Make new keys and tokens, in ``folder``."""
    issuer = Issuer(issuer=ISSUER, audience=AUDIENCE)
    public_key = issuer.keys[0].private.public_key()
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    (folder / "issuer.pem").write_bytes(
        public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "signing.pem").write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Material(folder=folder, tokens=tuple(_token(issuer, number) for number in range(USERS)))


def build_body(scenario: Scenario) -> bytes:
    """A ChatKit request with the scenario's wish in its text."""
    text = f"What changed in the quarterly report {scenario.wish} since the last one? In three sentences, please."
    message = {
        "content": [{"type": "input_text", "text": text}],
        "attachments": [],
        "quoted_text": None,
        "inference_options": {"tool_choice": None, "model": None},
    }
    page = {"url": f"{PUBLIC_URL}/reports", "title": "Reports", "headings": ["This quarter", "Last quarter"]}
    params = {
        "threads.create": {"input": message},
        "items.list": {"thread_id": "thr_00000001", "limit": 20, "order": "desc", "after": scenario.wish},
    }
    body = {
        "type": scenario.operation,
        "params": params[scenario.operation],
        "metadata": {"pageContext": page},
    }
    # As `JSON.stringify` writes it.
    return json.dumps(body, separators=(",", ":")).encode()


def _token(issuer: Issuer, number: int) -> str:
    """As long as issuers make them, some 700 bytes."""
    return issuer.token(
        f"user-{number:05}",
        exp=int(time.time()) + LIFETIME,
        jti=f"{number:032x}",
        sid=f"{number:024x}",
        tenant="acme",
        scope="openid profile email chat",
    )
