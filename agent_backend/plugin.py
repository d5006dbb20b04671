"""The plug-in point: somebody else's agent, by name, in place of ours.

Rules: the name is a setting, ``package.module:function``; it is loaded once, at start, and whatever is wrong with it is
said then, with the name and what to do. The function is called once per answer, with the `Turn`, and may be ``async``.
It answers with an `Agent`, which is checked; where that leaves the model or the MCP servers out, the turn's are used.
Everything around it (owners, history, streams, cancellation, usage) stays ours. Knows nothing of HTTP or stores.
"""

import asyncio
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, cast

from agents import Agent

from agent_backend.actions import ActionTable
from agent_backend.turn import BuildAgent, ChatContext, Turn

DEFAULT_AGENT = "agent_backend.agent:build_agent"
DEFAULT_ACTIONS = "agent_backend.checklist:CHECKLIST_ACTIONS"
# Seconds an agent may take to be built. It is part of what a user waits; a look-up or two take milliseconds.
BUILD_TIMEOUT = 10.0


class AgentUnusable(Exception):
    """The agent of the settings cannot be loaded; the text says why, and what to do."""


class AgentInvalid(Exception):
    """A function that builds agents gave something else."""


def check_name(name: str) -> str:
    """``package.module:function``. Raises ValueError."""
    module, _, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"{name!r} is no name of a function; write it as package.module:function")
    return name


def load_agent(name: str) -> BuildAgent:
    """The function of that name. Raises `AgentUnusable`."""
    value = find(name, f"agent {name!r}")
    check_callable(name, value)
    return cast(BuildAgent, value)


def load_actions(name: str) -> ActionTable:
    """The actions of the agent's widgets, by that name. Raises `AgentUnusable`."""
    value = find(name, f"actions {name!r}")
    if not isinstance(value, ActionTable):
        raise AgentUnusable(
            f"actions {name!r} is a {type(value).__name__}, expected an ActionTable; "
            "write it as: ACTIONS = ActionTable({...}), as in agent_backend/checklist.py"
        )
    return value


def find(name: str, label: str) -> Any:
    """What has that name, ``package.module:attribute``. Raises `AgentUnusable`.

    The working directory is searched last, so that a module beside the settings file is found however the process was
    started, and hides nothing that is installed.
    """
    check_name(name)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    module_name, _, attribute = name.partition(":")
    value: Any = import_module(label, module_name)
    for part in attribute.split("."):
        if not hasattr(value, part):
            where = getattr(value, "__file__", None) or repr(value)
            raise AgentUnusable(f"{label}: there is no {part} in {where}; define it, or correct the name")
        value = getattr(value, part)
    return value


def import_module(label: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise AgentUnusable(f"{label}: its module needs {exc.name}; install it {place_of(exc)}") from exc
        searched = ", ".join(path or os.getcwd() for path in sys.path)
        raise AgentUnusable(
            f"{label}: no module {exc.name}; install it, or add its folder to PYTHONPATH; searched: {searched}"
        ) from exc
    except Exception as exc:  # whatever a foreign module does when it is imported
        reason = f"{type(exc).__name__}: {exc}"
        raise AgentUnusable(f"{label}: its module cannot be imported: {reason} {place_of(exc)}") from exc


def place_of(exc: BaseException) -> str:
    """Where in the foreign code it happened."""
    if isinstance(exc, SyntaxError):
        return f"({exc.filename}, line {exc.lineno})"
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "importlib" not in frame.filename]
    return f"({frames[-1].filename}, line {frames[-1].lineno})"


def check_callable(name: str, value: Any) -> None:
    """Could it be called with one turn? Raises `AgentUnusable`."""
    if not callable(value):
        kind = type(value).__name__
        hint = "; wrap it in a function: def build_agent(turn): return agent" if isinstance(value, Agent) else ""
        raise AgentUnusable(f"agent {name!r} is a {kind} and cannot be called with a turn{hint}")
    if inspect.isasyncgenfunction(value) or inspect.isgeneratorfunction(value):
        raise AgentUnusable(f"agent {name!r} is a generator; it returns one Agent: replace yield by return")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return  # written in C, for example: only calling it can tell
    try:
        signature.bind(object())
    except TypeError as exc:
        raise AgentUnusable(
            f"agent {name!r} takes {signature}, and is called with one turn ({exc}); "
            "write it as: def build_agent(turn: Turn) -> Agent"
        ) from exc


def in_time(build_agent: BuildAgent, *, timeout: float = BUILD_TIMEOUT) -> BuildAgent:
    """The same function with a limit in seconds: an ``async`` one may look things up, and the user waits meanwhile."""

    @functools.wraps(build_agent)
    async def build(turn: Turn) -> Agent[ChatContext]:
        made = build_agent(turn)
        if not inspect.isawaitable(made):
            return made
        try:
            async with asyncio.timeout(timeout) as limit:
                return await made
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise TimeoutError(f"{name_of(build_agent)} took longer than agent_timeout, {timeout:g} s") from exc

    return build


async def make_agent(build_agent: BuildAgent, turn: Turn) -> Agent[ChatContext]:
    """The agent of one turn, with the turn's model and MCP servers where it names none of its own.

    Raises:
        AgentInvalid: it is no agent. Whatever the function itself raises is passed on; a `CustomStreamError` of
            ChatKit's is shown to the user with its message.
    """
    made = build_agent(turn)
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, Agent):
        raise AgentInvalid(f"{name_of(build_agent)} returned {type(made).__name__}, expected agents.Agent")
    changes: dict[str, Any] = {}
    if made.model is None:
        changes["model"] = turn.model
    if not made.mcp_servers:
        changes["mcp_servers"] = list(turn.mcp_servers)
    return made.clone(**changes) if changes else made


def name_of(function: Callable[..., Any]) -> str:
    function = inspect.unwrap(function)
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', repr(function))}"
