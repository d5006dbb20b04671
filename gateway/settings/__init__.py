"""One typed model of everything that can be set, read from a TOML file, the environment and a secrets directory.

Rules: strict (an unknown name is a mistake), complete (all problems at once, each with its fix), named tables instead
of lists. Precedence: environment (`GATEWAY_BACKENDS__SUPPORT__URL`), then secrets (a file of that name in
`GATEWAY_SECRETS_DIR`), then the file. Compiled once by `app`; the request path never sees this package.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

from gateway.settings.model import PREFIX, Settings
from gateway.settings.problems import cross_problems, dangling_names
from gateway.settings.sources import (
    SECRETS_DIR,
    SETTINGS_FILE,
    EnvironmentSource,
    SecretsSource,
    secrets_problems,
    unknown_variables,
)

__all__ = ["SECRETS_DIR", "SETTINGS_FILE", "Settings", "SettingsError", "load_settings"]


class SettingsError(Exception):
    """The settings cannot be used. `problems` has one line for each, with its fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(path: Path | None) -> Settings:
    """Read settings from ``path`` and the environment.

    Raises:
        SettingsError: With all problems of the file, the environment and the secrets at once.
    """
    secrets_dir = os.environ.get(SECRETS_DIR)
    unreadable = [*_file_problems(path), *(secrets_problems(secrets_dir) if secrets_dir else [])]
    problems = [*unknown_variables(os.environ), *unreadable]
    if unreadable:
        # Half of the settings would only add to the list what is missing from the other half.
        raise SettingsError(problems)
    try:
        settings = _with_sources(path, secrets_dir)()
    except ValidationError as exc:
        problems += [_explain(error, path) for error in exc.errors()]
        problems += dangling_names(tomllib.loads(path.read_text("utf-8"))) if path else []
        raise SettingsError(problems) from exc
    problems += cross_problems(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _file_problems(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        return [f"{path}: {exc.strerror}; name a settings file with --settings FILE or {SETTINGS_FILE}"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        return [f"{path}: not TOML: {exc}"]
    return []


# The classic omission, and a dangerous one.
_NO_AUDIENCE = (
    "without it every token of this issuer would open the chat, whatever it was made for: list the aud of yours, such "
    "as the client id (gateway explain shows it)"
)


def _explain(error: Any, path: Path | None) -> str:
    """One problem as ``where: what; the fix``."""
    where = ".".join(str(step) for step in error["loc"] if step != "[key]")
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{where}: unknown setting; check the spelling, or remove it"
    if kind in ("missing", "too_short") and where.endswith(".audiences"):
        return f"{where}: {'is missing' if kind == 'missing' else 'lists none'}; {_NO_AUDIENCE}"
    if kind == "missing":
        place = "it must be set" if path else f"set it, or name a settings file with --settings FILE or {SETTINGS_FILE}"
        return f"{where}: is missing; {place}"
    given = error.get("input")
    is_secret = error["loc"][0] == "signed_urls"
    shown = f" (is {_mask(given)!r:.80})" if isinstance(given, str | int | float | bool) and not is_secret else ""
    if kind in ("list_type", "dict_type", "model_type") and isinstance(given, str):
        variable = PREFIX + "__".join(str(step) for step in error["loc"]).upper()
        example = """'["a", "b"]'""" if kind == "list_type" else """'{"name": "value"}'"""
        return f"{where}: must be a {kind.partition('_')[0]}{shown}; in the environment as JSON: {variable}={example}"
    return f"{where}: {message}{shown}"


def _mask(value: object) -> object:
    """A URL may hold a password where none belongs; problems end up in logs."""
    return re.sub(r"//[^/@]*@", "//***@", value) if isinstance(value, str) else value


def _with_sources(path: Path | None, secrets_dir: str | None) -> type[Settings]:
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
            sources: list[PydanticBaseSettingsSource] = [EnvironmentSource(settings_cls)]
            if secrets_dir:
                sources.append(
                    SecretsSource(
                        file_secret_settings,
                        secrets_dir=secrets_dir,
                        secrets_prefix=PREFIX.lower(),
                        secrets_nested_delimiter="__",
                    )
                )
            if path is not None:
                sources.append(TomlConfigSettingsSource(settings_cls, path))
            return tuple(sources)

    return Sourced
