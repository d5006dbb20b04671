"""What a turn changes of its thread, and what others change of it meanwhile: nothing of either is lost."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import (
    LockedStatus,
    ProgressUpdateEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.context import RequestContext
from agent_backend.guarded_server import MAX_TITLE, GuardedServer
from agent_backend.problems import InvalidRequest
from agent_backend.store import SqlStore
from agent_backend.store.schema import migrate
from agent_backend.stream import DrivenStream
from tests.agent_backend.world import context_for, events_in, thread_of, user_input

ALICE = context_for("alice")

Step = Callable[["Stepwise", ThreadMetadata, RequestContext], Awaitable[None]]


class Stepwise(GuardedServer):
    """Answers by doing some steps, each followed by an event."""

    steps: tuple[Step, ...] = ()
    events: Sequence[dict[str, Any]] = ()

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        for step in self.steps:
            await step(self, thread, context)
            yield ProgressUpdateEvent(text="…")

    async def ask(self, operation: str, **params: object) -> bytes:
        result = await self.process(json.dumps({"type": operation, "params": params}), ALICE)
        if isinstance(result, DrivenStream):
            return b"".join([frame async for frame in result])
        return result.json

    async def turn(self, *steps: Step) -> ThreadMetadata:
        """A conversation with one answer of these steps, as it is stored after that."""
        self.steps = steps
        self.events = events_in(await self.ask("threads.create", input=user_input("Hi")))
        return await self.store.load_thread(thread_of(self.events), ALICE)


@pytest.fixture
async def server(engine: AsyncEngine) -> Stepwise:
    await migrate(engine)
    return Stepwise(store=SqlStore(engine=engine))


async def rename(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    """By the user, in another tab."""
    await server.ask("threads.update", thread_id=thread.id, title="The user's")


async def note(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    thread.metadata["step"] = 1


async def name(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    thread.title = "The agent's"


async def lock(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    thread.status = LockedStatus(reason="enough")


async def save(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    """As many agents do by themselves."""
    await server.store.save_thread(thread, context)


async def delete(server: Stepwise, thread: ThreadMetadata, context: RequestContext) -> None:
    """By another process, of which this turn hears later."""
    await server.store.delete_thread(thread.id, ALICE)


@pytest.mark.parametrize(
    ("steps", "title"),
    [
        ((rename, note), "The user's"),
        ((name, rename, note), "The user's"),
        ((name, rename, note, save), "The user's"),
        ((rename, lock), "The user's"),
        ((rename, note, name), "The agent's"),
    ],
    ids=["renamed", "named and renamed", "saved by the agent", "renamed and locked", "renamed by the agent last"],
)
async def test_a_name_given_during_a_turn_stays(server: Stepwise, steps: tuple[Step, ...], title: str) -> None:
    """ChatKit saves the whole thread with the name it began with; ours saves what the turn changed."""
    stored = await server.turn(*steps)

    told = [event["thread"]["title"] for event in server.events if event["type"] == "thread.updated"]
    assert (stored.title, told[-1]) == (title, title)
    assert stored.metadata == ({"step": 1} if note in steps else {})
    assert stored.status.type == ("locked" if lock in steps else "active")


async def test_renaming_keeps_what_a_turn_noted(server: Stepwise) -> None:
    """The name is all that a renaming changes, whatever is saved between its first look and its last."""
    stored = await server.turn(note)
    store = server.store
    assert isinstance(store, SqlStore)
    renamed = await store.change_thread(stored.id, {"title": "New"}, ALICE)

    assert (renamed.title, renamed.metadata) == ("New", {"step": 1})
    assert await store.load_thread(stored.id, ALICE) == renamed


async def test_a_deleted_thread_stays_deleted(server: Stepwise) -> None:
    """Whatever a turn that has not heard of it saves: it is told so, and brings nothing back."""
    server.steps = (delete, note)
    events = events_in(await server.ask("threads.create", input=user_input("Hi")))

    assert [event["message"] for event in events if event["type"] == "error"] == [
        "This conversation was deleted, or goes on elsewhere."
    ]
    assert (await server.store.load_threads(9, None, "desc", ALICE)).data == []


async def test_another_owners_thread_cannot_be_changed(server: Stepwise) -> None:
    stored = await server.turn(note)
    store = server.store
    assert isinstance(store, SqlStore)
    with pytest.raises(NotFoundError):
        await store.change_thread(stored.id, {"title": "Eve's"}, context_for("eve"))

    assert await store.load_thread(stored.id, ALICE) == stored


async def test_a_name_is_a_line_and_not_a_book(server: Stepwise) -> None:
    """A list of conversations has a hundred of them."""
    stored = await server.turn(name)
    with pytest.raises(InvalidRequest):
        await server.ask("threads.update", thread_id=stored.id, title="x" * (MAX_TITLE + 1))

    assert (await server.store.load_thread(stored.id, ALICE)).title == "The agent's"
