"""Read the settings, or say everything that is wrong with them.

Rules: all problems at once, in the order of the file; each names the key or variable, what is wrong, and what to write
instead. A value is never repeated: it may be a secret. Knows the settings' model and nothing of what they are for.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from agent_backend.secret_files import DIRECTORY_VARIABLE, PREFIX, find_problems, secret_names
from agent_backend.settings import Settings, table_of

FILE_VARIABLE = f"{PREFIX}SETTINGS"


class BadSettings(Exception):
    """The settings cannot be used. ``problems`` has one line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(path: Path | None) -> Settings:
    """The settings from a TOML file (or none), the environment and its secrets. Raises `BadSettings`."""
    if unreadable := list(find_problems(os.environ)):
        raise BadSettings(unreadable)  # half of the settings would only add what is missing from the other half
    values = with_database_url(read_file(path) if path else {})
    problems = list(unknown_variables([*os.environ, *secret_names(os.environ)]))
    try:
        settings = Settings(**values)
    except ValidationError as exc:
        errors = [error for error in exc.errors(include_input=False) if not is_told_by_variable(error)]
        problems = [*map(describe, errors), *problems]
    except SettingsError as exc:
        problems = [*problems, f"{exc}: name one value per variable, as in {PREFIX}SERVER__PORT=9001"]
    if problems:
        raise BadSettings(problems)
    return settings


def read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise BadSettings([f"{path}: {exc.strerror}; name a file that is there with --settings"]) from exc
    except ValueError as exc:
        raise BadSettings([f"{path}: not TOML: {exc}"]) from exc


def with_database_url(values: dict[str, Any]) -> dict[str, Any]:
    """``DATABASE_URL`` is what most platforms set; anything said to us in particular goes before it."""
    database = values.get("database", {})
    url = os.environ.get("DATABASE_URL")
    if not url or not isinstance(database, dict) or "url" in database:
        return values
    return {**values, "database": {**database, "url": url}}


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """One problem for each ``AGENT_BACKEND_*`` variable, or secret of that name, that sets nothing."""
    known = {FILE_VARIABLE, DIRECTORY_VARIABLE, *variables(Settings)}
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and not any(fnmatchcase(name.upper(), pattern) for pattern in known):
            yield f"{name}: no such variable{suggest(name.upper(), known)}"


def variables(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """``AGENT_BACKEND_SERVER__PORT`` and so on; ``*`` stands for a name of the operator's choice."""
    for name, field in model.model_fields.items():
        table = table_of(field.annotation)
        if table is None:
            yield f"{prefix}{name.upper()}"
        else:
            chosen = "*__" if table is not field.annotation else ""
            yield from variables(table, f"{prefix}{name.upper()}__{chosen}")


def is_told_by_variable(error: ErrorDetails) -> bool:
    """An unknown key that came from the environment: its variable is reported, by its own name."""
    variable = PREFIX + "__".join(str(part) for part in error["loc"]).upper()
    given = [*os.environ, *secret_names(os.environ)]
    return error["type"] == "extra_forbidden" and variable in {name.upper() for name in given}


def describe(error: ErrorDetails) -> str:
    """One line: where, what, and the fix."""
    place = [str(part) for part in error["loc"]]
    name = ".".join(place) or "settings"
    if error["type"] == "extra_forbidden":
        known = {key.removeprefix(PREFIX).lower().replace("__", ".") for key in variables(Settings)}
        if len(place) > 2:
            known = {key.replace("*", place[1]) for key in known}
        tables = {key.partition(".")[0] for key in known}
        return f"{name}: no such key{suggest(name, known if len(place) > 1 else tables)}"
    hint = help_for(place, says_fix=error["type"] == "value_error")
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {message}{f' ({hint})' if hint else ''}"


def help_for(place: list[str], *, says_fix: bool = False) -> str | None:
    """What the key is for, or which keys a missing table needs, unless the message ``says_fix`` by itself."""
    model: Any = Settings
    field = None
    for part in place:
        if not hasattr(model, "model_fields"):
            model = table_of(model)  # `part` is the name of a named table
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        model = field.annotation
    if isinstance(model, type) and issubclass(model, BaseModel) and field is not None:
        needed = ", ".join(name for name, entry in model.model_fields.items() if entry.is_required())
        return f"write [{'.'.join(place)}] with {needed}" if needed and not says_fix else None
    return field.description if field else None


def suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(sorted(known))}"
