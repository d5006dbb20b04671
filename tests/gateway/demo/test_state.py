"""What the demo keeps on disk."""

import stat
import tomllib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.demo.issuer import COOKIE
from gateway.demo.ports import ports_from
from gateway.demo.state import FORM_AROUND, MAX_FILE, prepare_state, toml_text
from gateway.settings import load_settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """The directory and every file in it belong to their owner alone, even if the directory was there before."""
    directory = tmp_path / ".demo"
    directory.mkdir(mode=0o755)
    prepare_state(directory, ports_from(8080))

    assert mode(directory) == 0o700
    assert {mode(path) for path in directory.iterdir()} == {0o600}


def test_the_settings_name_each_other(tmp_path: Path) -> None:
    """The backend believes exactly the gateway that calls it, and the gateway exactly the issuer beside it."""
    state = prepare_state(tmp_path, ports_from(9090))
    gateway = tomllib.loads(state.gateway_settings.read_text())
    backend = tomllib.loads(state.backend_settings.read_text())
    (secret,) = gateway.pop("signed_urls")["keys"]

    assert gateway == {
        "server": {
            "host": "127.0.0.1",
            "port": 9090,
            "public_url": "http://127.0.0.1:9090",
            "drain_delay": 0,
            "drain_timeout": 2,
        },
        "issuers": {
            "demo": {
                "issuer": "http://127.0.0.1:9091",
                "jwks_url": "http://127.0.0.1:9091/.well-known/jwks.json",
                "audiences": ["chat"],
                "algorithms": ["RS256", "ES256"],
                "cooldown": 1,
            }
        },
        "trust": {"signing_keys": [str(state.signing_key)]},
        "log": {"format": "json"},
        "backends": {
            "assistant": {"url": "http://127.0.0.1:9092/chatkit"},
            "assistant_files": {"url": "http://127.0.0.1:9092/attachments", "audience": "assistant"},
        },
        "routes": {
            "assistant": {"path": "/chatkit", "backend": "assistant", "cookie": "auth_token"},
            "upload": {
                "path": "/attachments",
                "kind": "opaque",
                "methods": ["GET", "POST"],
                "backend": "assistant_files",
                "cookie": "auth_token",
                "max_body": MAX_FILE + FORM_AROUND,
            },
            "files": {
                "path": "/attachments/",
                "kind": "opaque",
                "prefix": True,
                "methods": ["GET", "HEAD", "PUT"],
                "credential": "signed_url",
                "backend": "assistant_files",
                "max_body": MAX_FILE + FORM_AROUND,
            },
        },
    }
    assert backend == {
        "server": {
            "host": "127.0.0.1",
            "port": 9092,
            "path": "/chatkit",
            "log_format": "json",
            "drain_timeout": 2,
        },
        "database": {"url": f"sqlite:///{state.database}"},
        "gateway": {
            "jwks_url": "http://127.0.0.1:9090/.well-known/jwks.json",
            "issuer": "http://127.0.0.1:9090",
            "audience": "assistant",
        },
        "turns": {"lease": 3, "wait": 5},
        "model": {"provider": "offline"},
        "answer": {"show_context": True},
        "attachments": {
            "directory": str(state.files),
            "public_url": "http://127.0.0.1:9090/attachments",
            "path": "/attachments",
            "url_keys": [secret],
            "max_bytes": MAX_FILE,
        },
    }


def test_the_secret_of_links_is_new_each_time(tmp_path: Path) -> None:
    """Gateway and backend share it, and nobody else: no two demos have the same."""
    secrets = []
    for name in ("one", "two"):
        state = prepare_state(tmp_path / name, ports_from(9090))
        gateway = tomllib.loads(state.gateway_settings.read_text())["signed_urls"]["keys"]
        assert tomllib.loads(state.backend_settings.read_text())["attachments"]["url_keys"] == gateway
        secrets += gateway

    assert len(set(secrets)) == 2
    assert min(map(len, secrets)) >= 32


def test_the_gateway_accepts_the_settings(tmp_path: Path) -> None:
    """Every name we write is a name the gateway knows; its own address is the one people open."""
    settings = load_settings(prepare_state(tmp_path, ports_from(9090)).gateway_settings)

    assert settings.public_url == "http://127.0.0.1:9090"
    assert settings.routes["assistant"].cookie == COOKIE


def test_the_key_survives_a_restart_on_other_ports(tmp_path: Path) -> None:
    """Settings are written anew, the gateway's key is not."""
    before = prepare_state(tmp_path, ports_from(8080)).signing_key.read_bytes()
    after = prepare_state(tmp_path, ports_from(9090)).signing_key.read_bytes()
    key = load_pem_private_key(after, password=None)

    assert before == after
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_any_path_can_be_written_down() -> None:
    """Quotes, backslashes, line breaks and emoji in a path come back as they were."""
    path = '/home/zoë/"chat"\\demo\n🙂'

    assert tomllib.loads(toml_text({"a.b": {"path": path, "list": [path], "number": 1}})) == {
        "a": {"b": {"path": path, "list": [path], "number": 1}}
    }
