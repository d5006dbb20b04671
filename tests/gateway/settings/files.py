"""Settings files for tests."""

from pathlib import Path

from gateway.settings import SettingsError, load_settings

# The smallest file that serves, as ARCHITECTURE.md and the README have it.
SMALLEST = """
[server]
host = "127.0.0.1"
port = 8080
public_url = "https://chat.example.com"

[issuers.main]
issuer = "https://login.example.com"
jwks_url = "https://login.example.com/.well-known/jwks.json"
audiences = ["chat"]
algorithms = ["RS256"]

[backends.support]
url = "http://127.0.0.1:9000/chatkit"

[routes.support]
path = "/chatkit"
backend = "support"
cookie = "auth_token"
allowed_origins = ["https://app.example.com"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    """What is wrong with a file; an empty list if nothing is."""
    try:
        load_settings(write(folder, text))
    except SettingsError as exc:
        return exc.problems
    return []
