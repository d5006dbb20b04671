"""Whatever happens in a stream, its reader gets events that make sense: as a table, without a server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chatkit.types import (
    ErrorEvent,
    Page,
    ProgressUpdateEvent,
    Thread,
    ThreadCreatedEvent,
    ThreadItemDoneEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    Workflow,
    WorkflowItem,
)

from agent_backend.guard import FAILED, LOST, guarded
from agent_backend.problems import DatabaseUnavailable
from agent_backend.store import Lease, Leases, SqlStore, build_engine
from agent_backend.store.schema import migrate
from tests.agent_backend.world import context_for

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ALICE = context_for("alice")
CREATED = ThreadCreatedEvent(thread=Thread(id="thr_1", created_at=NOW, items=Page()))
PROGRESS = ProgressUpdateEvent(text="…")
DONE = ThreadItemDoneEvent(
    item=WorkflowItem(id="wf_1", thread_id="thr_1", created_at=NOW, workflow=Workflow(type="custom", tasks=[]))
)
DATABASE = ErrorEvent(message=DatabaseUnavailable.message, allow_retry=False)


@dataclass(slots=True, kw_only=True)
class Guard:
    """One stream under guard, and how often its thread was taken back."""

    lease: Lease
    taken_back: int = 0

    async def read(self, *script: ThreadStreamEvent | BaseException, brings_message: bool) -> list[ThreadStreamEvent]:
        async def events() -> AsyncGenerator[ThreadStreamEvent, None]:
            for step in script:
                if isinstance(step, BaseException):
                    raise step
                yield step

        async def take_back() -> None:
            self.taken_back += 1

        stream = guarded(events(), context=ALICE, lease=self.lease, brings_message=brings_message, take_back=take_back)
        return [event async for event in stream]


@pytest.fixture
async def guard(tmp_path: Path) -> AsyncIterator[Guard]:
    engine = build_engine(f"sqlite:///{tmp_path}/agent.sqlite3")
    await migrate(engine)
    await SqlStore(engine=engine).save_thread(ThreadMetadata(id="thr_1", created_at=NOW), ALICE)
    lease = Leases(engine=engine).build()
    yield Guard(lease=lease)
    await lease.release()
    await engine.dispose()


FINAL = FAILED.model_copy(update={"allow_retry": False})
WITHOUT_WORDS = ErrorEvent(code=FAILED.code, allow_retry=True)
CASES: list[tuple[tuple[ThreadStreamEvent | BaseException, ...], bool, list[ThreadStreamEvent], int]] = [
    # What is in it; does the operation bring a message?; what is read; is an empty thread looked for?
    ((CREATED, DONE, PROGRESS), True, [CREATED, DONE, PROGRESS], 0),
    ((CREATED, RuntimeError("secret")), True, [CREATED, FINAL], 1),
    ((CREATED, DONE, RuntimeError("secret")), True, [CREATED, DONE, FAILED], 0),
    ((RuntimeError("secret"),), False, [FAILED], 0),
    ((DatabaseUnavailable("secret"),), True, [DATABASE], 1),
    ((DONE, WITHOUT_WORDS), True, [DONE, FAILED], 0),
    ((DONE, WITHOUT_WORDS, RuntimeError("again")), True, [DONE, FAILED], 0),
    ((DONE, DATABASE), True, [DONE, DATABASE], 0),
]


@pytest.mark.parametrize(("script", "brings_message", "expected", "taken_back"), CASES)
async def test_a_failure_is_one_event_in_words(
    guard: Guard,
    script: tuple[ThreadStreamEvent | BaseException, ...],
    brings_message: bool,
    expected: list[ThreadStreamEvent],
    taken_back: int,
) -> None:
    """Exactly one, always with a message, never with a detail; and a retry only of what can be retried."""
    events = await guard.read(*script, brings_message=brings_message)

    assert events == expected
    assert guard.taken_back == taken_back


async def test_a_cancellation_goes_on_and_takes_an_empty_thread_back(guard: Guard) -> None:
    """Nobody reads any more: no event is made up."""
    with pytest.raises(asyncio.CancelledError):
        await guard.read(CREATED, asyncio.CancelledError(), brings_message=True)

    assert guard.taken_back == 1


async def test_who_lost_the_thread_is_told_so(guard: Guard) -> None:
    """Whether its own writes failed or it was stopped for it: the last event says it, and the stream ends well."""
    await guard.lease.take("thr_1", ALICE)
    guard.lease.lose()

    stopped = await guard.read(PROGRESS, asyncio.CancelledError(), brings_message=False)
    refused = await guard.read(PROGRESS, WITHOUT_WORDS, brings_message=False)

    assert stopped == refused == [PROGRESS, LOST]
    assert guard.taken_back == 0
