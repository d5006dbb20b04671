"""One typed model of everything that can be set, read from a TOML file, the environment and a secrets directory.

Rules: strict (an unknown name is a mistake), complete (all problems at once, each with its fix), named tables instead
of lists. Precedence: environment (`GATEWAY_BACKENDS__SUPPORT__URL`), then secrets (a file of that name in lower case
in `GATEWAY_SECRETS_DIR`), then the file. Compiled once by `app`; the request path never sees this package.
"""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)

from gateway.settings.model import PREFIX, Settings
from gateway.settings.problems import cross_problems

__all__ = ["SECRETS_DIR", "SETTINGS_FILE", "Settings", "SettingsError", "load_settings"]

SETTINGS_FILE = "GATEWAY_SETTINGS"
SECRETS_DIR = "GATEWAY_SECRETS_DIR"


class SettingsError(Exception):
    """The settings cannot be used. `problems` has one line for each, with its fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(path: Path | None) -> Settings:
    """Read settings from ``path`` and the environment.

    Raises:
        SettingsError: With all problems of the file or the environment at once.
    """
    problems = unknown_variables(os.environ)
    if path is not None:
        problems += _file_problems(path)
    if problems:
        raise SettingsError(problems)
    try:
        settings = _with_sources(path)()
    except ValidationError as exc:
        raise SettingsError([_explain(error) for error in exc.errors()]) from exc
    problems = cross_problems(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Names in ``environment`` that look like settings and are none. Deeper parts are judged by the model."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return [
        f"{name}: unknown variable; settings are {', '.join(sorted(known))}, each followed by __ and a name"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in (SETTINGS_FILE, SECRETS_DIR) and name.partition("__")[0] not in known
    ]


def _file_problems(path: Path) -> list[str]:
    try:
        tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        return [f"{path}: {exc.strerror}; name a settings file with --settings FILE or {SETTINGS_FILE}"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        return [f"{path}: not TOML: {exc}"]
    return []


def _explain(error: Any) -> str:
    """One problem as ``where: what; the fix``."""
    where = ".".join(str(step) for step in error["loc"] if step != "[key]")
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{where}: unknown setting; check the spelling, or remove it"
    if kind == "missing":
        return f"{where}: is missing; it must be set"
    given = error.get("input")
    shown = f" (is {given!r:.80})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {message}{shown}"


def _with_sources(path: Path | None) -> type[Settings]:
    """The model bound to its sources; pydantic-settings takes them from the class."""

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources: list[PydanticBaseSettingsSource] = [env_settings]
            if SECRETS_DIR in os.environ:
                sources.append(
                    NestedSecretsSettingsSource(
                        file_secret_settings,
                        secrets_dir=os.environ[SECRETS_DIR],
                        secrets_prefix=PREFIX.lower(),
                        secrets_nested_delimiter="__",
                    )
                )
            if path is not None:
                sources.append(TomlConfigSettingsSource(settings_cls, path))
            return tuple(sources)

    return Sourced
