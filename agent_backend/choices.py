"""What a user may choose in the composer: a tool, a model. Asked before an answer begins.

Rules: the ids come from the client, so only what is listed counts: a model nobody listed could be dearer than the
answer is worth, a tool nobody listed was not meant to be started by hand. A choice that is not listed is a 400 and not
silently another one. What is listed but not there when the agent runs is told to the user in one `error`.
"""

import dataclasses
from collections.abc import Collection, Mapping

from agents import Agent, Model
from agents.run_context import RunContextWrapper
from chatkit.errors import CustomStreamError
from chatkit.types import ChatKitReq, InferenceOptions, ThreadsAddUserMessageReq, ThreadsCreateReq, UserMessageItem

from agent_backend.problems import Problem
from agent_backend.turn import ChatContext


class ToolNotOffered(Problem):
    status = 400
    code = "tool_not_offered"
    message = "That tool cannot be chosen here. Please choose another, or none."


class ModelNotOffered(Problem):
    status = 400
    code = "model_not_offered"
    message = "That model cannot be chosen here. Please choose another, or none."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """``tools`` by the name the agent knows them by; ``models`` by the id the composer shows them under."""

    tools: Collection[str] = ()
    models: Mapping[str, Model] = dataclasses.field(default_factory=dict)

    def check(self, request: ChatKitReq) -> None:
        """Raise when a message asks for what is not offered."""
        if not isinstance(request, ThreadsCreateReq | ThreadsAddUserMessageReq):
            return
        wanted = request.params.input.inference_options
        if wanted.tool_choice and wanted.tool_choice.id not in self.tools:
            raise ToolNotOffered(
                f"tool {wanted.tool_choice.id[:64]!r}, offered: {listed(self.tools)} ([composer] tools)"
            )
        if wanted.model and wanted.model not in self.models:
            raise ModelNotOffered(f"model {wanted.model[:64]!r}, offered: {listed(self.models)} ([composer] models)")

    def model_for(self, message: UserMessageItem | None, default: Model) -> Model:
        """The model of this turn. A message of old may name one that is no longer offered: then the default."""
        name = options_of(message).model
        return self.models.get(name, default) if name else default

    async def apply(
        self, agent: Agent[ChatContext], message: UserMessageItem | None, run: ChatContext
    ) -> Agent[ChatContext]:
        """The agent, told to use the tool that the user chose. It is free again once it has."""
        choice = options_of(message).tool_choice
        if choice is None or choice.id not in self.tools:
            return agent
        there = {tool.name for tool in await agent.get_all_tools(RunContextWrapper(run))}
        if choice.id not in there:
            raise CustomStreamError("That tool is not available right now. Please try again without it.")
        settings = dataclasses.replace(agent.model_settings, tool_choice=choice.id)
        return agent.clone(model_settings=settings, reset_tool_choice=True)


def options_of(message: UserMessageItem | None) -> InferenceOptions:
    return message.inference_options if message else InferenceOptions()


def listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
