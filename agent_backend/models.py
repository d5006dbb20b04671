"""Which model answers: any endpoint that speaks OpenAI's protocols, or the offline one.

Rules: one client per process, made at start; tracing leaves the process only where the settings say so, and then
without what was said. Knows nothing of agents, threads or settings files.
"""

from dataclasses import dataclass
from typing import Literal

from agents import Model, OpenAIProvider, RunConfig, set_tracing_export_api_key
from openai import AsyncOpenAI

from agent_backend.offline_model import WORD_DELAY, OfflineModel

Provider = Literal["offline", "openai"]
Api = Literal["responses", "chat_completions"]

# Attempts besides the first, by the client, before any token was streamed; it waits 0.5 to 8 s between them.
MAX_RETRIES = 2
# Local servers ask for no key; the client insists on one.
NO_KEY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, and how to reach it. ``timeout`` and ``word_delay`` in seconds."""

    provider: Provider = "offline"
    base_url: str | None = None
    api_key: str | None = None
    name: str | None = None
    api: Api = "responses"
    timeout: float = 60.0
    word_delay: float = WORD_DELAY

    def __repr__(self) -> str:
        return f"<ModelChoice {self.provider} {self.name or ''} {self.base_url or ''}>"


class ModelConnection:
    """A model and the client it talks through, if any; connects only when first used."""

    def __init__(self, *, model: Model, client: AsyncOpenAI | None = None) -> None:
        self.model = model
        self._client = client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()


def build_model(choice: ModelChoice) -> ModelConnection:
    """The chosen model, ready to be asked."""
    if choice.provider == "offline":
        return ModelConnection(model=OfflineModel(word_delay=choice.word_delay))
    client = AsyncOpenAI(
        base_url=choice.base_url,
        api_key=choice.api_key or NO_KEY,
        timeout=choice.timeout,
        max_retries=MAX_RETRIES,
    )
    provider = OpenAIProvider(openai_client=client, use_responses=choice.api == "responses")
    return ModelConnection(model=provider.get_model(choice.name), client=client)


def build_run_config(*, export_traces: bool, api_key: str | None = None) -> RunConfig:
    """How every run goes. Traces go to OpenAI, so they are off unless exporting was asked for."""
    if export_traces and api_key:
        set_tracing_export_api_key(api_key)
    return RunConfig(
        workflow_name="agent_backend",
        tracing_disabled=not export_traces,
        trace_include_sensitive_data=False,
    )
