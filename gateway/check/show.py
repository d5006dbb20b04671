"""The effective settings as a settings file: what is in force, defaults included, secrets masked."""

import json
from collections.abc import Mapping

from gateway.settings import Settings


def show(settings: Settings) -> str:
    """The effective settings as TOML that loads again as the same. Secrets are masked by their type."""
    lines = []
    for section, table in settings.model_dump(mode="json").items():
        groups = table.items() if section in ("issuers", "backends", "routes") else [(None, table)]
        for name, values in groups:
            lines += ["", f"[{section}.{name}]" if name else f"[{section}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines).strip()


def _toml(value: object) -> str:
    """A value as TOML 1.0 writes it; tables inline, what is None left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}"
    # A JSON string is a basic string of TOML, but for one character that only TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
