"""The guide's reference of all settings, made from the model: ``python -m agent_backend.settings_reference`` prints it.

Knows nothing of the guide; a test holds the two together.
"""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AnyHttpUrl, BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agent_backend.settings import Settings, table_of

NAMES: dict[Any, str] = {
    SecretStr: "secret",
    AnyHttpUrl: "URL",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def render_reference() -> str:
    """Markdown: for each table of the settings file its name, what it is, and a row for each setting."""
    top = {name: field for name, field in Settings.model_fields.items() if table_of(field.annotation) is None}
    parts = [section("Top of the file", "", top)] if top else []
    return "\n\n".join([*parts, *(section(f"`[{name}]`", doc, fields) for name, doc, fields in tables(Settings))])


def tables(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, dict[str, FieldInfo]]]:
    """Each table's name, docstring and plain settings; tables by name are called NAME."""
    for name, field in model.model_fields.items():
        inner = table_of(field.annotation)
        if inner is None:
            continue
        heading = f"{prefix}{name}.NAME" if is_named(field.annotation) else f"{prefix}{name}"
        plain = {key: value for key, value in inner.model_fields.items() if table_of(value.annotation) is None}
        yield heading, inner.__doc__ or "", plain
        yield from tables(inner, f"{heading}.")


def section(heading: str, doc: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{name}` | {type_name(field.annotation)} | {default_of(field)} | {cell(field.description or '')} |"
        for name, field in fields.items()
    ]
    about = [" ".join(doc.split()), ""] if doc else []
    return "\n".join(
        [f"#### {heading}", "", *about, "| setting | type | default | meaning |", "|---|---|---|---|", *rows]
    )


def type_name(annotation: Any) -> str:
    if annotation in NAMES:
        return NAMES[annotation]
    arguments = [item for item in get_args(annotation) if item is not type(None)]
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{item}`" for item in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(item) for item in arguments)
    if is_named(annotation):
        return f"table of {type_name(arguments[1])}s"
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_name(arguments[0])}s"
    if arguments:  # Annotated: what it is made of
        return type_name(arguments[0])
    return str(getattr(annotation, "__name__", annotation)).lower()


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    if value in (None, PydanticUndefined, {}) or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple | set | frozenset):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def is_named(annotation: Any) -> bool:
    """``[mcp.NAME]``: a dictionary, by a name of the operator's choice."""
    return issubclass(get_origin(annotation) or object, dict)


if __name__ == "__main__":
    print(render_reference())
