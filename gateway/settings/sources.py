"""Where settings come from besides the file: variables of the environment, and files in a secrets directory.

Rules: a secret is a file named like the variable, in lower or upper case; other files in that directory are somebody
else's (Kubernetes' `..data`, keys, certificates) and are not opened. A name of ours that is no setting is a mistake. A
value that is not the JSON it should be reaches the model as it is, which says what is wrong with it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource

from gateway.settings.model import PREFIX, Settings

SETTINGS_FILE = "GATEWAY_SETTINGS"
SECRETS_DIR = "GATEWAY_SECRETS_DIR"
# Launch scripts name the interpreter with it and export it to us; it sets nothing here.
INTERPRETER = "GATEWAY_PY"

# What Kubernetes adds to every pod of a namespace that has a Service called "gateway" or "gateway-…".
_SERVICE_MARK = "_SERVICE_HOST"
_SERVICE_LINKS = ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT")


class EnvironmentSource(EnvSettingsSource):
    """Variables. What should be JSON and is not goes on as it is: the model says better what is wrong."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class SecretsSource(EnvironmentSource, NestedSecretsSettingsSource):
    """Files of a directory, one value each."""

    def validate_secrets_path(self, path: Path) -> None:
        """Judged by `secrets_problems` already, which looks at no file but ours."""

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        return {file.name: file.read_text("utf-8").strip() for file in _secret_files(path)}


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names in ``environment`` that look like settings and are none. Deeper parts are judged by the model."""
    services = {name.removesuffix(_SERVICE_MARK) for name in environment if name.endswith(_SERVICE_MARK)}
    links = tuple(service + link for service in services for link in _SERVICE_LINKS)
    return _unknown_names(name for name in environment if not (links and name.startswith(links)))


def secrets_problems(directory: str) -> list[str]:
    """What keeps the secrets directory from being read."""
    path = Path(directory)
    if not path.is_dir():
        return [f"{SECRETS_DIR}: no directory {directory}; mount it, or unset {SECRETS_DIR}"]
    problems = []
    try:
        files = _secret_files(path)
    except OSError as exc:
        return [f"{SECRETS_DIR}: {directory}: {exc.strerror}; make it readable for this user"]
    for file in files:
        try:
            file.read_text("utf-8")
        except OSError as exc:
            problems.append(f"{file}: {exc.strerror}; make it readable for this user")
        except UnicodeDecodeError:
            problems.append(f"{file}: not UTF-8 text; a secret is the value alone")
    return problems + [f"{path}/{problem}" for problem in _unknown_names(file.name for file in files)]


def _unknown_names(names: Iterable[str]) -> list[str]:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return [
        f"{name}: unknown variable; settings are {', '.join(sorted(known))}, each followed by __ and a name"
        for name in sorted(names)
        if name.upper().startswith(PREFIX)
        and name.upper() not in (SETTINGS_FILE, SECRETS_DIR, INTERPRETER)
        and name.upper().partition("__")[0] not in known
    ]


def _secret_files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.name.upper().startswith(PREFIX) and file.is_file())
