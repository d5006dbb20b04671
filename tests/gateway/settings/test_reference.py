"""The reference of all settings."""

import re
from pathlib import Path

from pydantic import BaseModel

from gateway.settings.model import (
    BackendSettings,
    ClaimSettings,
    IssuerSettings,
    LimitSettings,
    LogSettings,
    MetricsSettings,
    RequireSettings,
    RouteSettings,
    ServerSettings,
    SignedUrlSettings,
    TracingSettings,
    TrustSettings,
)
from gateway.settings.reference import render_reference

README = Path(__file__).parents[3] / "README.md"
TABLES: list[type[BaseModel]] = [
    ServerSettings,
    LogSettings,
    MetricsSettings,
    TracingSettings,
    TrustSettings,
    IssuerSettings,
    ClaimSettings,
    BackendSettings,
    LimitSettings,
    RouteSettings,
    RequireSettings,
    SignedUrlSettings,
]


def test_every_setting_has_a_description() -> None:
    """Written as a sentence; a table says what it is."""
    missing = [
        f"{table.__name__}.{name}"
        for table in TABLES
        for name, field in table.model_fields.items()
        if not re.fullmatch(r".+\.", field.description or "", re.DOTALL)
    ]

    assert missing == []
    assert [table.__name__ for table in TABLES if not table.__doc__] == []


def test_every_setting_has_a_row() -> None:
    """In its own table, which is named as the file names it."""
    sections = dict(re.findall(r"#### `\[(.+?)\]`\n(.*?)(?=\n#### |\Z)", render_reference(), re.DOTALL))
    rows = {heading: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) for heading, text in sections.items()}
    headings: dict[str, type[BaseModel]] = {
        "server": ServerSettings,
        "log": LogSettings,
        "metrics": MetricsSettings,
        "tracing": TracingSettings,
        "trust": TrustSettings,
        "signed_urls": SignedUrlSettings,
        "issuers.NAME": IssuerSettings,
        "issuers.NAME.claims": ClaimSettings,
        "backends.NAME": BackendSettings,
        "routes.NAME": RouteSettings,
        "routes.NAME.limits": LimitSettings,
        "routes.NAME.require": RequireSettings,
        "routes.NAME.rules": RequireSettings,
    }
    nested: dict[type[BaseModel], set[str]] = {
        IssuerSettings: {"claims"},
        RouteSettings: {"limits", "require", "rules"},
    }

    assert rows == {
        heading: [name for name in table.model_fields if name not in nested.get(table, set())]
        for heading, table in headings.items()
    }


def test_a_row() -> None:
    """Name, type, default and meaning."""
    lines = render_reference().splitlines()

    assert "| `port` | integer | `8080` | Port to listen on; 0 takes a free one. |" in lines
    assert '| `format` | `json` or `console` | `"json"` | json for machines, console for people. |' in lines
    assert '| `algorithms` | list of strings | `["RS256", "ES256"]` | Accepted signature algorithms. |' in lines
    assert "| `issuer` | string | **required** | The token's `iss`, to the letter. |" in lines
    assert "| `cookie` | string |  | Cookie with the token; also name.0, name.1 … . |" in lines


def test_the_readme_has_exactly_this_reference() -> None:
    """Between its markers; ``python -m gateway.settings.reference`` prints what belongs there."""
    text = README.read_text("utf-8")
    found = re.findall(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", text, re.DOTALL)

    assert [part.strip() for part in found] == [render_reference()]
