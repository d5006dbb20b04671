"""Settings from a directory of files, one value each: Docker's and Kubernetes' secrets, systemd's credentials.

Rules: a secret is a file named like the variable, in lower or upper case (`agent_backend_model__api_key`); other files
there are somebody else's (Kubernetes' `..data`, keys, certificates) and are not opened. The environment goes before
these files, and these before the settings file. Knows nothing of what the values are for.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic_settings import NestedSecretsSettingsSource, PydanticBaseSettingsSource

PREFIX = "AGENT_BACKEND_"
DIRECTORY_VARIABLE = f"{PREFIX}SECRETS_DIR"


class SecretFiles(NestedSecretsSettingsSource):
    """The files of ``directory`` as settings, in the place of pydantic's own ``source``."""

    def __init__(self, source: PydanticBaseSettingsSource, directory: str) -> None:
        super().__init__(source, secrets_dir=directory, secrets_prefix=PREFIX.lower(), secrets_nested_delimiter="__")

    def validate_secrets_path(self, path: Path) -> None:
        """Judged by `find_problems` already, which looks at no file but ours."""

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        return {file.name: file.read_text("utf-8").strip() for file in list_files(path)}


def find_problems(environment: Mapping[str, str]) -> Iterator[str]:
    """What keeps the directory from being read, a line each."""
    directory = environment.get(DIRECTORY_VARIABLE)
    if directory is None:
        return
    if not Path(directory).is_dir():
        yield f"{DIRECTORY_VARIABLE}: no directory {directory}; mount it, or unset {DIRECTORY_VARIABLE}"
        return
    try:
        files = list_files(Path(directory))
    except OSError as exc:
        yield f"{DIRECTORY_VARIABLE}: {directory}: {exc.strerror}; make it readable for this user"
        return
    for file in files:
        try:
            file.read_text("utf-8")
        except OSError as exc:
            yield f"{file}: {exc.strerror}; make it readable for this user"
        except UnicodeDecodeError:
            yield f"{file}: not UTF-8 text; a secret is the value alone"


def secret_names(environment: Mapping[str, str]) -> list[str]:
    """The files that count, by name."""
    directory = environment.get(DIRECTORY_VARIABLE)
    return [file.name for file in list_files(Path(directory))] if directory else []


def list_files(directory: Path) -> list[Path]:
    return sorted(file for file in directory.iterdir() if file.name.upper().startswith(PREFIX) and file.is_file())
