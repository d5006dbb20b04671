"""The plug-in point: an agent by name, loaded at start, checked, and filled up with what is ours."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agents import Agent
from agents.mcp import MCPServer
from agents.testing import ScriptedModel
from chatkit.types import ThreadMetadata

from agent_backend.agent import build_agent
from agent_backend.plugin import AgentInvalid, AgentUnusable, check_name, in_time, load_agent, make_agent
from agent_backend.turn import Turn
from tests.agent_backend.world import context_for

NOW = datetime.now(UTC)
MODULES = {
    "good": "from agents import Agent\n\ndef build_agent(turn):\n    return Agent(name='mine')\n",
    "needs": "import not_installed_anywhere\n",
    "broken": "def build_agent(turn)\n    return None\n",
    "raises": "raise RuntimeError('no key in the environment')\n",
    "shapes": """
from agents import Agent

ready = Agent(name="ready")
number = 7

class Factory:
    def __call__(self, turn):
        return Agent(name="from a factory")

factory = Factory()

class Group:
    @staticmethod
    def build(turn):
        return Agent(name="from a group")

async def later(turn):
    return Agent(name="later")

def nothing():
    return Agent(name="none")

def two(turn, settings):
    return Agent(name="two")

def more(turn, verbose=False):
    return Agent(name="more")

def stream(turn):
    yield Agent(name="streamed")
""",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that is nowhere but in the working directory; gives its name."""
    name = f"brought_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    for module, text in MODULES.items():
        (folder / f"{module}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    importlib.invalidate_caches()
    yield name
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def turn(**changes: Any) -> Turn:
    thread: Any = ThreadMetadata(id="thr_1", created_at=NOW)
    return Turn(**{"context": context_for(), "thread": thread, "message": None, "model": ScriptedModel([]), **changes})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good:build_agent", "mine"),
        ("shapes:factory", "from a factory"),
        ("shapes:Group.build", "from a group"),
        ("shapes:later", "later"),
        ("shapes:more", "more"),
    ],
)
async def test_whatever_can_be_called_with_a_turn_builds_agents(package: str, name: str, expected: str) -> None:
    """A function, sync or async, an object, a method of a class; found in the working directory."""
    agent = await make_agent(load_agent(f"{package}.{name}"), turn())

    assert agent.name == expected


def test_our_own_is_the_default() -> None:
    """Nothing need be set."""
    assert load_agent("agent_backend.agent:build_agent") is build_agent


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing:build_agent", ["no module", ".missing", "PYTHONPATH", "searched: ", "{cwd}"]),
        ("needs:build_agent", ["its module needs not_installed_anywhere", "install it", "needs.py, line 1"]),
        ("broken:build_agent", ["SyntaxError", "broken.py, line 1"]),
        ("raises:build_agent", ["RuntimeError: no key in the environment", "raises.py, line 1"]),
        ("good:bild_agent", ["no bild_agent in", "good.py", "correct the name"]),
        ("shapes:ready", ["is a Agent", "wrap it in a function"]),
        ("shapes:number", ["is a int", "cannot be called"]),
        ("shapes:nothing", ["takes ()", "one turn", "def build_agent(turn: Turn) -> Agent"]),
        ("shapes:two", ["takes (turn, settings)", "one turn"]),
        ("shapes:stream", ["generator", "return"]),
    ],
)
def test_what_cannot_be_loaded_says_why_and_what_to_do(
    package: str, tmp_path: Path, name: str, words: list[str]
) -> None:
    """Each with the name as it was set, at start and not in the first user's answer."""
    with pytest.raises(AgentUnusable) as refused:
        load_agent(f"{package}.{name}")

    text = str(refused.value)
    assert text.startswith(f"agent '{package}.{name}'")
    assert [word for word in words if word.format(cwd=tmp_path) not in text] == []
    assert len(text.splitlines()) == 1


def test_a_package_that_is_not_there_at_all() -> None:
    """The package itself is named, not the module in it."""
    with pytest.raises(AgentUnusable, match="no module not_there_at_all;"):
        load_agent("not_there_at_all.deep.module:build_agent")


@pytest.mark.parametrize("name", ["", "module", "module:", ":function", "a b:c", "../x:y", "module:f()", "os.path;x:y"])
def test_a_name_that_is_none(name: str) -> None:
    """Settings say so, with the form to write."""
    with pytest.raises(ValueError, match=r"package\.module:function"):
        check_name(name)


async def test_the_turns_model_and_servers_fill_the_gaps() -> None:
    """What the agent names itself stays; what it leaves out is ours; the agent given is not changed."""
    servers: Any = (object.__new__(Server), object.__new__(Server))
    own_model, own_server = ScriptedModel([]), object.__new__(Server)
    bare = Agent[Any](name="bare")
    full = Agent[Any](name="full", model=own_model, mcp_servers=[own_server])
    given = turn(mcp_servers=servers)

    filled = await make_agent(lambda turn: bare, given)
    kept = await make_agent(lambda turn: full, given)

    assert (filled.model, filled.mcp_servers) == (given.model, list(servers))
    assert (bare.model, bare.mcp_servers) == (None, [])
    assert kept is full


class Server(MCPServer):
    """Never connected, only handed on."""

    async def connect(self) -> None: ...
    async def cleanup(self) -> None: ...
    @property
    def name(self) -> str:
        return "server"

    async def list_tools(self, *given: Any, **options: Any) -> Any: ...
    async def call_tool(self, *given: Any, **options: Any) -> Any: ...
    async def list_prompts(self) -> Any: ...
    async def get_prompt(self, *given: Any, **options: Any) -> Any: ...


async def test_something_else_than_an_agent_is_refused() -> None:
    """By the function's name, and with what it gave."""

    def build(turn: Turn) -> Any:
        return {"name": "no agent"}

    with pytest.raises(AgentInvalid, match=r"test_plugin:.*build returned dict, expected agents\.Agent"):
        await make_agent(build, turn())


async def test_an_agent_that_takes_too_long_to_build_is_given_up() -> None:
    """A user waits for it."""

    async def build(turn: Turn) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"build took longer than agent_timeout, 0\.01 s"):
        await make_agent(in_time(build, timeout=0.01), turn())


async def test_a_limit_changes_nothing_else() -> None:
    """Sync or async, in time: the same agent; and its own time-outs keep their words."""

    async def later(turn: Turn) -> Any:
        return Agent[Any](name="later")

    async def slow(turn: Turn) -> Any:
        raise TimeoutError("the customers' database")

    assert (await make_agent(in_time(build_agent), turn())).name == "Assistant"
    assert (await make_agent(in_time(later), turn())).name == "later"
    with pytest.raises(TimeoutError, match="the customers' database"):
        await make_agent(in_time(slow), turn())


async def test_what_it_raises_is_passed_on() -> None:
    """Nothing is hidden from the log."""

    def build(turn: Turn) -> Any:
        raise LookupError("no such customer")

    with pytest.raises(LookupError, match="no such customer"):
        await make_agent(build, turn())
