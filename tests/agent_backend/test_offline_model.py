"""The offline model streams like a real one."""

import asyncio

from agents import Agent, Runner
from openai.types.responses import ResponseTextDeltaEvent

from agent_backend.models import build_run_config
from agent_backend.offline_model import OfflineModel


async def test_it_speaks_word_by_word() -> None:
    """Each word is an event of its own, and together they are the answer."""
    agent = Agent(name="a", instructions='- name: "Alice"', model=OfflineModel(word_delay=0))
    result = Runner.run_streamed(agent, "Hello", run_config=build_run_config(export_traces=False))

    events = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]

    words = [event.delta for event in events if isinstance(event, ResponseTextDeltaEvent)]
    assert "".join(words) == result.final_output
    assert len(words) == len(result.final_output.split())
    assert "Your name is Alice" in result.final_output


async def test_it_says_the_same_each_time() -> None:
    """Streamed or not, today or tomorrow."""
    agent = Agent(name="a", model=OfflineModel(word_delay=0))
    config = build_run_config(export_traces=False)

    answers = await asyncio.gather(*(Runner.run(agent, "Hello", run_config=config) for _ in range(2)))

    assert answers[0].final_output == answers[1].final_output
