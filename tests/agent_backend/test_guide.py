"""The integration guide, held to the code it is about."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent_backend import model_failures
from agent_backend.__main__ import COMMANDS, parse
from agent_backend.model_failures import ModelFailure
from agent_backend.plugin import check_name, load_agent
from agent_backend.settings import Settings, table_of
from agent_backend.settings_reference import render_reference
from agent_backend.turn import Turn

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "agent_backend/README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The guide's code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_reference_of_settings_is_the_models() -> None:
    """Between its marks; ``python -m agent_backend.settings_reference`` prints what belongs there."""
    found = re.findall(r"<!-- settings -->\n(.*?)<!-- /settings -->", GUIDE, re.DOTALL)

    assert [part.strip() for part in found] == [render_reference()]


def test_every_setting_has_a_row_and_says_what_it_is() -> None:
    """In every table, those by name too; none without its meaning."""
    rows = set(re.findall(r"^\| `(\w+)` \|", render_reference(), re.MULTILINE))
    settings = list(settings_of(Settings))

    assert {name for name, _ in settings} - rows == set()
    assert [name for name, description in settings if not description] == []


def settings_of(model: type[BaseModel]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for name, field in model.model_fields.items():
        table = table_of(field.annotation)
        found += settings_of(table) if table else [(name, field.description)]
    return found


def test_the_reference_names_types_and_defaults() -> None:
    """One row of each kind."""
    lines = render_reference().splitlines()
    for row in (
        "| `port` | integer | `9000` | a free port from 1 to 65535; 0 picks one |",
        "| `audience` | string | **required** | this backend's name at the gateway: aud of its assertions |",
        '| `api` | `responses` or `chat_completions` | `"responses"` | "responses", or "chat_completions" for most '
        "compatible endpoints |",
        "| `export` | boolean | `false` | send the Agents SDK's traces, without texts, to OpenAI |",
    ):
        assert row in lines
    assert "#### `[mcp.NAME]`" in lines


def test_no_section_is_empty() -> None:
    """A heading promises something."""
    parts = re.split(r"^#+ (.+)\n", GUIDE, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))

    assert [heading for heading, text in texts.items() if not text.strip() and heading != "Patterns, and why"] == []


def test_the_commands_are_those_there_are() -> None:
    """Each with the options the guide names, and none besides."""
    lines = re.findall(r"^    agent_backend (\w+) .*?#(.*)$", section("Commands"), re.MULTILINE)

    assert [name for name, _ in lines] == list(COMMANDS)
    for name, text in lines:
        for option in re.findall(r"--[a-z-]+", text):
            with pytest.raises(SystemExit) as ended:
                parse([name, option, "--help"] if option in {"--check", "--current", "--dry-run"} else [name, "--help"])
            assert ended.value.code == 0


@pytest.mark.parametrize("line", re.findall(r"^    (agent_backend .*?)(?:  +#.*)?$", GUIDE, re.MULTILINE))
def test_every_command_line_can_be_given(line: str) -> None:
    """As it is written, with FILE for a file."""
    words = line.split()[1:]
    if words[0] == "forget":
        words += ["--issuer", "https://login.test", "--subject", "alice"] if "--issuer" not in words else []

    assert parse(words).command == words[0]


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_piece_of_a_settings_file_is_valid(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, or with the one table that every file needs."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    values = tomllib.loads(text)
    if set(values) & {"signed_urls", "routes", "backends", "issuers"}:
        return  # the gateway's
    trusted = {"jwks_url": "http://127.0.0.1/jwks.json", "issuer": "g", "audience": "support"}
    needed = {"gateway": trusted, "model": {"base_url": "http://127.0.0.1/v1"}}

    Settings(**{**needed, **values})


def test_the_agent_shown_is_the_example_that_is_run() -> None:
    """`tests/together/test_own.py` runs the file."""
    example = (ROOT / "deploy/examples/own_agent/shop.py").read_text("utf-8")
    name = tomllib.loads(blocks("toml")[1])["agent"]

    assert example in blocks("python")
    assert check_name(name) == "shop:build_agent"
    assert "async def build_agent(turn: Turn)" in example


def test_the_server_shown_is_part_of_the_example_that_is_run() -> None:
    """The lines in the guide are the file's, in its order."""
    example = (ROOT / "deploy/examples/own_server/server.py").read_text("utf-8")
    [shown] = [block for block in blocks("python") if "GatewayTrust(" in block]
    head, _, body = shown.partition("\n\n\n")

    assert head in example
    assert body.strip() in example


def test_the_turn_is_described_as_it_is() -> None:
    """Every field is named."""
    rows = "\n".join(line for line in section("Bring your own agent").splitlines() if line.startswith("| `turn."))

    assert set(re.findall(r"`turn\.(\w+)`", rows)) == set(Turn.__dataclass_fields__)
    assert load_agent("agent_backend.agent:build_agent") is not None


def test_every_failure_of_a_model_is_in_the_table() -> None:
    """With its code, and whether there is a Retry button."""
    rows = re.findall(r"^\| (`model_.+?) \| .+ \| (yes|no) \|$", section("Models"), re.MULTILINE)
    told = {code: button == "yes" for codes, button in rows for code in re.findall(r"`(\w+)`", codes)}
    kinds = [
        kind for kind in vars(model_failures).values() if isinstance(kind, type) and issubclass(kind, ModelFailure)
    ]

    assert told == {kind.code: kind.allow_retry for kind in kinds if kind is not ModelFailure}


def test_files_that_are_named_are_there() -> None:
    """Modules, tests and examples."""
    names = re.findall(r"`((?:[\w]+/)*\w+\.py|(?:tests|deploy)/[\w/]+)`", GUIDE)
    places = [ROOT, ROOT / "agent_backend"]

    assert len(names) > 10
    assert [name for name in names if not any((place / name).exists() for place in places)] == []
