"""What the default agent can do besides talking: one small example of each thing ChatKit has for it, to be copied.

    check_setup      progress updates        what it is doing is shown while it does it
    set_theme        a client effect         the page does something; nobody waits for it
    get_time_zone    a client tool           the page is asked, and the turn goes on when it has answered
    show_checklist   a widget                with buttons that reach the server and the page: `checklist`
    ask_user         structured input        questions with choices; the turn goes on when they are answered

Rules: a tool is given the run, which the model does not see: who the user is and what they may do is read there, never
in the arguments, which are a model's words. A tool that fails is the SDK's business: the model gets one fixed sentence.
What a tool shows is shown whole or not at all: it is made first and streamed last. `set_theme` and `get_time_zone` need
a page that listens: to the event `chatkit.effect`, and with `onClientTool`.
"""

import asyncio
from datetime import UTC, datetime
from typing import Literal

from agents import FunctionToolResult, RunContextWrapper, Tool, ToolsToFinalOutputResult, function_tool
from chatkit.agents import ClientToolCall
from chatkit.types import (
    ClientEffectEvent,
    ProgressUpdateEvent,
    StructuredInput,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    ThreadItemDoneEvent,
)
from pydantic import BaseModel, Field

from agent_backend.checklist import build_checklist, draw_checklist
from agent_backend.turn import ChatContext

Run = RunContextWrapper[ChatContext]

# Seconds each step of `check_setup` is shown at least: as long as it takes to read three words.
STEP_PAUSE = 0.25
# Questions at once, and choices for each: a form people still fill in.
MAX_QUESTIONS = 5
MAX_OPTIONS = 8
# What a tool gives that asked somebody; the model never reads it.
ASKED = "asked"


class Question(BaseModel):
    question: str = Field(description="what to ask, in the user's language")
    options: list[str] = Field(description="answers to choose from; empty for an answer in the user's own words")


@function_tool
async def check_setup(run: Run) -> str:
    """Check the connection of this chat, step by step: who the user is, which page they are on, their conversations."""
    context = run.context.request_context
    findings = []
    await show_step(run, "profile", "Looking at your sign-in …")
    findings.append(f"signed in as {context.user.name or context.user.id}")
    await show_step(run, "compass", "Looking at your page …")
    findings.append(f"on the page {context.page.title or context.page.url}" if context.page else "no page known")
    await show_step(run, "search", "Counting your conversations …")
    threads = await run.context.store.load_threads(100, None, "desc", context)
    findings.append(f"{len(threads.data)}{' or more' if threads.has_more else ''} conversations")
    return "; ".join(findings)


async def show_step(run: Run, icon: Literal["profile", "compass", "search"], text: str) -> None:
    await run.context.stream(ProgressUpdateEvent(icon=icon, text=text))
    await asyncio.sleep(STEP_PAUSE)


@function_tool
async def set_theme(run: Run, theme: Literal["light", "dark"]) -> str:
    """Switch the page the user is on to light or dark colours."""
    await run.context.stream(ClientEffectEvent(name="set_theme", data={"theme": theme}))
    return f"The page was asked to switch to {theme} colours."


@function_tool
async def get_time_zone(run: Run) -> str:
    """Ask the user's browser for their time zone and local time."""
    # The run ends after this tool (`wait_when_asked`). ChatKit streams the call as the turn's last item, the page runs
    # it and sends `threads.add_client_tool_output`, and a new run sees call and result in the history.
    run.context.client_tool_call = ClientToolCall(name="get_time_zone", arguments={})
    return ASKED


@function_tool
async def show_checklist(run: Run, title: str, entries: list[str]) -> str:
    """Show the user a checklist whose entries they can tick.

    Args:
        title: a heading of a few words.
        entries: one short line for each thing to do; at least one.
    """
    checklist = build_checklist(title, entries)
    if checklist is None:
        return "A checklist needs at least one entry; nothing was shown."
    await run.context.stream_widget(draw_checklist(checklist), copy_text=checklist.text)
    return f"The user now sees a checklist with {len(checklist.entries)} entries. Do not repeat them."


@function_tool
async def ask_user(run: Run, questions: list[Question]) -> str:
    """Ask the user one to five questions in a form, when their answers are needed to go on.

    Args:
        questions: what to ask, in this order.
    """
    asked = [question for question in questions if question.question.strip()][:MAX_QUESTIONS]
    if not asked:
        return "A form needs at least one question; nothing was shown."
    item = StructuredInputItem(
        id=run.context.generate_id("message"),
        thread_id=run.context.thread.id,
        created_at=datetime.now(UTC),
        inputs=[draw_question(f"q{number}", question) for number, question in enumerate(asked, 1)],
    )
    await run.context.stream(ThreadItemDoneEvent(item=item))
    return ASKED


def draw_question(name: str, question: Question) -> StructuredInput:
    options = [StructuredInputMultipleChoiceOption(value=option) for option in question.options[:MAX_OPTIONS]]
    if not options:
        return StructuredInputFreeform(id=name, question=question.question)
    return StructuredInputMultipleChoice(id=name, question=question.question, options=options)


TOOLS: tuple[Tool, ...] = (check_setup, set_theme, get_time_zone, show_checklist, ask_user)
# What the composer may offer (`composer.tools` on the page): these are their ids.
TOOL_NAMES = tuple(tool.name for tool in TOOLS)


def wait_when_asked(run: Run, results: list[FunctionToolResult]) -> ToolsToFinalOutputResult:
    """The run ends when the user or their browser was asked something: what they answer begins another.

    Not the SDK's list of tools to stop at: it stops after one that failed, too, and then nobody says anything.
    """
    return ToolsToFinalOutputResult(is_final_output=any(result.output == ASKED for result in results))
