"""AssistantServer: one agent that answers, for one verified user at a time.

Rules: what holds for any answer is in `guarded_server`. Here: an agent is built for each turn from its thread, its user
and the tools they may use; when nobody wants its answer any more it is stopped. Knows nothing of HTTP: that is
`endpoint`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from agents import Model, RunConfig, Runner
from chatkit.actions import Action
from chatkit.agents import AgentContext, stream_agent_response
from chatkit.errors import CustomStreamError
from chatkit.store import AttachmentStore
from chatkit.types import (
    ChatKitReq,
    ProgressUpdateEvent,
    StreamOptionsEvent,
    SyncCustomActionResponse,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    ThreadUpdatedEvent,
    UserMessageItem,
    WidgetItem,
)

from agent_backend.actions import ActionTable
from agent_backend.choices import Choices
from agent_backend.clicks import Clicks
from agent_backend.context import RequestContext
from agent_backend.conversion import PrepareAttachments, name_all
from agent_backend.events import until_cancelled, with_own_ids, without_halves
from agent_backend.guarded_server import GuardedServer
from agent_backend.history import MAX_ITEMS, MAX_TOKENS, build_input, load_history
from agent_backend.mcp import McpServers, TurnTools
from agent_backend.model_failures import ModelFailure
from agent_backend.plugin import make_agent
from agent_backend.problems import Problem
from agent_backend.shown_context import context_effect
from agent_backend.store import Leases, SqlStore
from agent_backend.titles import TitleWriter, title_of, with_title
from agent_backend.turn import BuildAgent, ChatContext, Turn
from agent_backend.usage import UsageCounter, tokens_of


class AssistantServer(GuardedServer):
    """One agent, one store, any number of users."""

    def __init__(
        self,
        *,
        store: SqlStore,
        build_agent: BuildAgent,
        model: Model,
        run_config: RunConfig,
        max_items: int = MAX_ITEMS,
        max_tokens: int = MAX_TOKENS,
        actions: ActionTable | None = None,
        choices: Choices | None = None,
        titles: TitleWriter | None = None,
        usage: UsageCounter | None = None,
        leases: Leases | None = None,
        mcp: McpServers | None = None,
        attachment_store: AttachmentStore[RequestContext] | None = None,
        prepare_attachments: PrepareAttachments | None = None,
        show_context: bool = False,
    ) -> None:
        super().__init__(store=store, leases=leases, attachment_store=attachment_store)
        self._build_agent = build_agent
        self._model = model
        self._run_config = run_config
        self._max_items = max_items
        self._max_tokens = max_tokens
        self._clicks = Clicks(store=store, actions=actions or ActionTable())
        self._choices = choices or Choices()
        self._titles = titles
        self._usage = usage or UsageCounter()
        self._mcp = mcp or McpServers()
        self._prepare_attachments = prepare_attachments or name_all
        self._show_context = show_context

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Ask the agent, and stream what it says. Without a message too: after a tool's output, for example."""
        if self._show_context:
            yield context_effect(context)
        better_title: asyncio.Task[str | None] | None = None
        if thread.title is None and input_user_message and (title := title_of(input_user_message)):
            thread.title = title
            # ChatKit saves a changed thread with the next event. One that says nothing new: it waits for no model.
            yield StreamOptionsEvent(stream_options=self.get_stream_options(thread, context))
            better_title = self._titles.begin(thread, input_user_message, context) if self._titles else None
        is_whole = False
        try:
            async with (
                self._mcp.servers_for(context) as tools,
                aclosing(self._answer(thread, input_user_message, context, tools, better_title)) as events,
            ):
                async for event in events:
                    yield event
            is_whole = True
        finally:
            # Whoever left while tools were being connected, or got no answer for want of them, needs no title.
            if better_title and not is_whole:
                better_title.cancel()

    async def _answer(
        self,
        thread: ThreadMetadata,
        input_user_message: UserMessageItem | None,
        context: RequestContext,
        tools: TurnTools,
        better_title: asyncio.Task[str | None] | None,
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        items = await load_history(self.store, thread, context, max_items=self._max_items)
        read_attachment = await self._prepare_attachments(items, context)
        model_input = await build_input(
            items, context.page, max_tokens=self._max_tokens, read_attachment=read_attachment
        )
        context.notes["items"] = len(model_input)
        run: ChatContext = AgentContext(thread=thread, store=self.store, request_context=context)
        model = self._choices.model_for(input_user_message, self._model)
        turn = Turn(context=context, thread=thread, message=input_user_message, model=model, mcp_servers=tools.servers)
        agent = await make_agent(self._build_agent, turn)
        agent = await self._choices.apply(agent, input_user_message, run)
        model_input = [*tools.prompts, *model_input]
        result = Runner.run_streamed(agent, model_input, context=run, run_config=self._run_config)
        events = stream_agent_response(run, result)
        is_whole = False
        try:
            async with aclosing(until_cancelled(events, stop=result.cancel)) as running:
                whole = without_halves(with_own_ids(running, new_id=lambda: run.generate_id("message")))
                async for event in with_title(whole, better_title, tell=lambda title: self._titled(thread, title)):
                    yield event
            is_whole = True
        except ModelFailure as failure:
            # For the user its message, for the operator one line without a word of the endpoint's or the user's.
            note_failure(context, failure)
            raise CustomStreamError(failure.message, allow_retry=failure.allow_retry) from failure
        finally:
            self._usage.count(context, thread.id, tokens_of(result.context_wrapper.usage, is_whole=is_whole))
            # When the model fails, ChatKit leaves a reader waiting at this queue for ever. Give it something.
            await run.stream(ProgressUpdateEvent(text=""))

    def _titled(self, thread: ThreadMetadata, title: str) -> ThreadStreamEvent:
        """That the thread has a better title, already stored. Not put into ``thread``, which ChatKit would save: the
        user may have renamed it since.
        """
        return ThreadUpdatedEvent(thread=self._to_thread_response(thread.model_copy(update={"title": title})))

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        await super().check(request, context)
        self._choices.check(request)
        await self._clicks.check(request, context)

    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """A click: what it changed, and the assistant's answer where it asks for one."""
        try:
            outcome = await self._clicks.perform(thread, action, sender, context)
        except Problem as problem:
            # It could be begun, and another click was faster: said in words, because ChatKit would say "an error".
            raise CustomStreamError(problem.message) from problem
        if outcome.widget:
            yield ThreadItemReplacedEvent(item=outcome.widget)
        if outcome.note:
            yield ThreadItemDoneEvent(item=self._clicks.note(outcome.note, thread, context))
        if outcome.answers:
            async for event in self.respond(thread, None, context):
                yield event

    async def sync_action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: RequestContext,
    ) -> SyncCustomActionResponse:
        """A click whose one answer is the widget as it is now."""
        outcome = await self._clicks.perform(thread, action, sender, context)
        if outcome.note:
            note = self._clicks.note(outcome.note, thread, context)
            await self.store.add_thread_item(thread.id, note, context)
        return SyncCustomActionResponse(updated_item=outcome.widget)


def note_failure(context: RequestContext, failure: ModelFailure) -> None:
    context.notes.update(code=failure.code, reason=str(failure)[:200])
