"""The README's reference of all settings, made from the model: ``python -m gateway.settings.reference`` prints it.

Knows nothing of the README; a test holds the two together.
"""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.settings.model import Settings

_NAMES: dict[Any, str] = {
    SecretStr: "secret",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
}


def render_reference() -> str:
    """Markdown: for each table of the settings file its name, what it is, and a row for each setting."""
    return "\n\n".join(_render_table(heading, table) for heading, table in _tables())


def _tables() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        inner = _table_of(field.annotation)
        if inner is not None:
            heading = f"{name}.NAME" if get_origin(field.annotation) is dict else name
            yield heading, inner
            for key, value in inner.model_fields.items():
                nested = _table_of(value.annotation)
                if nested is not None:
                    yield f"{heading}.{key}", nested


def _render_table(heading: str, table: type[BaseModel]) -> str:
    rows = [
        f"| `{name}` | {_type_name(field.annotation)} | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in table.model_fields.items()
        if _table_of(field.annotation) is None
    ]
    head = [f"#### `[{heading}]`", "", table.__doc__ or "", "", "| setting | type | default | meaning |"]
    return "\n".join([*head, "|---|---|---|---|", *rows])


def _type_name(annotation: Any) -> str:
    if annotation in _NAMES:
        return _NAMES[annotation]
    arguments = [item for item in get_args(annotation) if item is not type(None)]
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{item}`" for item in arguments)
    if get_origin(annotation) in (Union, types.UnionType) and len(arguments) == 1:
        return _type_name(arguments[0])
    if get_origin(annotation) is dict:
        return f"table of {_type_name(arguments[1])}"
    if get_origin(annotation) is list:
        return f"list of {_type_name(arguments[0])}s"
    # Annotated: what it is made of.
    return _type_name(arguments[0])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, or holds by name; None for a plain value."""
    candidates = get_args(annotation) or (annotation,)
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


if __name__ == "__main__":
    print(render_reference())
