"""Which model answers: any endpoint that speaks OpenAI's protocols, or the offline one.

Rules: one client per process, made at start; it neither waits nor repeats by itself, because `patient_model` does.
A model that an agent names as text is asked at the same endpoint, with the same patience. Tracing leaves the process
only where the settings say so, and then without what was said. Knows nothing of agents, threads or settings files.
"""

from dataclasses import dataclass, field
from typing import Literal

from agents import Model, ModelProvider, ModelSettings, OpenAIProvider, RunConfig, set_tracing_export_api_key
from openai import AsyncOpenAI, Timeout

from agent_backend.offline_model import NAME as OFFLINE
from agent_backend.offline_model import WORD_DELAY, OfflineModel
from agent_backend.patient_model import CONNECT_TIMEOUT, Patience, PatientModel

Provider = Literal["offline", "openai"]
Api = Literal["responses", "chat_completions"]

# Local servers ask for no key; the client insists on one.
NO_KEY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, and how to reach it. ``connect_timeout`` and ``word_delay`` in seconds."""

    provider: Provider = "offline"
    base_url: str | None = None
    api_key: str | None = None
    name: str | None = None
    api: Api = "responses"
    include_usage: bool = True
    connect_timeout: float = CONNECT_TIMEOUT
    patience: Patience = field(default_factory=Patience)
    word_delay: float = WORD_DELAY

    def __repr__(self) -> str:
        return f"<ModelChoice {self.provider} {self.name or ''} {self.base_url or ''}>"


class Models(ModelProvider):
    """Every model of one endpoint, by name. Without a name: the one the settings choose."""

    def __init__(self, *, provider: OpenAIProvider, default: str | None, patience: Patience) -> None:
        self._provider = provider
        self._default = default
        self._patience = patience

    def get_model(self, model_name: str | None) -> Model:
        return PatientModel(self._provider.get_model(model_name or self._default), patience=self._patience)


class OfflineModels(ModelProvider):
    """The offline model under every name; it says which, where it was asked for by one."""

    def __init__(self, *, word_delay: float) -> None:
        self._word_delay = word_delay

    def get_model(self, model_name: str | None) -> Model:
        return OfflineModel(word_delay=self._word_delay, name=model_name or OFFLINE)


class OneModel(ModelProvider):
    """The same model under every name."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def get_model(self, model_name: str | None) -> Model:
        return self._model


class ModelConnection:
    """A model, its siblings, and the client they talk through, if any; connects only when first used."""

    def __init__(
        self, *, model: Model, provider: ModelProvider | None = None, client: AsyncOpenAI | None = None
    ) -> None:
        self.model = model
        self.provider = provider or OneModel(model)
        self._client = client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()


def build_model(choice: ModelChoice) -> ModelConnection:
    """The chosen model, ready to be asked."""
    if choice.provider == "offline":
        offline = OfflineModels(word_delay=choice.word_delay)
        return ModelConnection(model=offline.get_model(None), provider=offline)
    client = AsyncOpenAI(
        base_url=choice.base_url,
        api_key=choice.api_key or NO_KEY,
        # Connecting and sending are the client's; how long an answer may take is `patient_model`'s alone.
        timeout=Timeout(choice.connect_timeout, read=None),
        max_retries=0,
    )
    models = Models(
        provider=OpenAIProvider(openai_client=client, use_responses=choice.api == "responses"),
        default=choice.name,
        patience=choice.patience,
    )
    return ModelConnection(model=models.get_model(choice.name), provider=models, client=client)


def build_run_config(
    *,
    export_traces: bool,
    api_key: str | None = None,
    provider: ModelProvider | None = None,
    include_usage: bool = False,
) -> RunConfig:
    """How every run goes. Traces go to OpenAI, so they are off unless exporting was asked for.

    Args:
        provider: who knows the models that agents name as text; the SDK's own by default.
        include_usage: ask chat-completions endpoints to count tokens.
    """
    if export_traces and api_key:
        set_tracing_export_api_key(api_key)
    config = RunConfig(
        workflow_name="agent_backend",
        model_settings=ModelSettings(include_usage=True) if include_usage else None,
        tracing_disabled=not export_traces,
        trace_include_sensitive_data=False,
    )
    if provider is not None:
        config.model_provider = provider
    return config
