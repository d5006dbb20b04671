"""Tool schemas without the parameters that carry the identity, and arguments with them.

Rules: the model sees no trace of a hidden parameter, and what it writes under such a name, in whatever spelling, goes
no further: `userId`, `user-id` and `USER_ID` are all `user_id`. What is filled in goes under the name the tool's own
schema has. A tool without such parameters is called without them. Pure: arguments are untouched, results new.

Source: JSON Schema 2020-12; MCP's `inputSchema` is one, with `type: object` at its top.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent_backend.mcp.choice import Fact

Schema = dict[str, Any]

# Keywords whose schemas speak of the same object.
LISTS = ("allOf", "anyOf", "oneOf")
SINGLES = ("if", "then", "else", "not")
# Keywords that hold whole objects: examples with a user's id or token in them.
WHOLE_VALUES = ("examples", "default", "const", "enum")
DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenParameters:
    """One tool's schema as the model sees it, and what is filled in behind its back.

    Attributes:
        schema: For the model.
        found: The names this tool's own schema has for the hidden parameters, and the fact each takes.
        folded: All configured names, folded; a tool has none, some or all of them.
    """

    schema: Schema
    found: Mapping[str, Fact]
    folded: frozenset[str]

    def fill(self, arguments: Mapping[str, Any] | None, facts: Mapping[Fact, Any]) -> dict[str, Any]:
        """What the model asked for, in the name of the user."""
        asked = {name: value for name, value in (arguments or {}).items() if fold(name) not in self.folded}
        return {**asked, **{name: facts[fact] for name, fact in self.found.items() if fact in facts}}


def hide_parameters(schema: Mapping[str, Any], names: Mapping[str, Fact]) -> HiddenParameters:
    """The schema without ``names``.

    Args:
        schema: a tool's input schema; not changed.
        names: parameter names, in any spelling, and the fact each takes.
    """
    folded = {fold(name): fact for name, fact in names.items()}
    visible = copy.deepcopy(dict(schema))
    found: dict[str, Fact] = {}
    strip(visible, root=visible, folded=folded, found=found, inlined=frozenset())
    drop_unused_definitions(visible)
    return HiddenParameters(schema=visible, found=found, folded=frozenset(folded))


def fold(name: str) -> str:
    """A name without case and punctuation, as people vary it."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def strip(
    part: Schema, *, root: Schema, folded: Mapping[str, Fact], found: dict[str, Fact], inlined: frozenset[str]
) -> None:
    """Remove the parameters from every keyword of ``part`` that speaks of this object; note them in ``found``."""
    inlined |= inline_reference(part, root, inlined)
    for name in [name for name in members(part, "properties") if fold(name) in folded]:
        found[name] = folded[fold(name)]
    for keyword in ("properties", "dependentSchemas", "dependentRequired", "dependencies"):
        if keyword in part:
            part[keyword] = {name: value for name, value in members(part, keyword).items() if fold(name) not in folded}
    drop_names(part, "required", folded)
    drop_names(members(part, "dependentRequired"), None, folded)
    drop_names(members(part, "dependencies"), None, folded)
    for keyword in WHOLE_VALUES:
        part.pop(keyword, None)
    for child in same_object(part):
        strip(child, root=root, folded=folded, found=found, inlined=inlined)


def members(part: Mapping[str, Any], keyword: str) -> Schema:
    value = part.get(keyword)
    return value if isinstance(value, dict) else {}


def drop_names(part: Schema, keyword: str | None, folded: Mapping[str, Fact]) -> None:
    """Remove names from the list at ``keyword``, or from every list; a `required` that is left empty goes."""
    for key in [keyword] if keyword else list(part):
        if isinstance(part.get(key), list):
            part[key] = [name for name in part[key] if not (isinstance(name, str) and fold(name) in folded)]
            if not part[key]:
                del part[key]


def same_object(part: Schema) -> Iterator[Schema]:
    listed = [child for keyword in LISTS for child in part.get(keyword) or []]
    single = [part.get(keyword) for keyword in SINGLES]
    for child in [*listed, *single, *members(part, "dependentSchemas").values()]:
        if isinstance(child, dict):
            yield child


def inline_reference(part: Schema, root: Schema, inlined: frozenset[str]) -> frozenset[str]:
    """Put what ``$ref`` points to in its place: a definition others use, too, must keep its parameters."""
    reference = part.get("$ref")
    if not isinstance(reference, str) or reference in inlined:
        return frozenset()
    target = resolve(root, reference)
    if target is None:
        return frozenset()
    del part["$ref"]
    if part.keys() & target.keys() - {"title", "description"}:
        part["allOf"] = [*part.get("allOf", []), target]
    else:
        part.update({name: value for name, value in target.items() if name not in part})
    return frozenset({reference})


def resolve(root: Schema, reference: str) -> Schema | None:
    """A copy of what a ``#/…`` reference names, or None."""
    if not reference.startswith("#/"):
        return None
    value: Any = root
    for step in reference[2:].split("/"):
        value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return copy.deepcopy(value) if isinstance(value, dict) else None


def drop_unused_definitions(schema: Schema) -> None:
    """Definitions that only a hidden parameter used would still tell of it."""
    for keyword in DEFINITIONS:
        definitions = members(schema, keyword)
        if not definitions:
            continue
        outside = {name: value for name, value in schema.items() if name != keyword}
        used: set[str] = set()
        new = set(referenced(outside, keyword))
        while new:
            used |= new
            new = {name for one in new for name in referenced(definitions.get(one), keyword)} - used
        schema[keyword] = {name: value for name, value in definitions.items() if name in used}
        if not schema[keyword]:
            del schema[keyword]


def referenced(value: Any, keyword: str) -> Iterator[str]:
    """The definitions that ``value`` points to."""
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(f"#/{keyword}/"):
            yield reference.removeprefix(f"#/{keyword}/").split("/")[0]
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from referenced(child, keyword)
