"""What an operation needs is looked for before a stream begins: as a table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chatkit.store import NotFoundError
from chatkit.types import (
    ChatKitReq,
    ClientToolCallItem,
    ClosedStatus,
    FileAttachment,
    InferenceOptions,
    StructuredInputFreeform,
    StructuredInputItem,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    WidgetItem,
)
from chatkit.widgets import BasicRoot
from pydantic import TypeAdapter

from agent_backend.preconditions import check_request
from agent_backend.problems import Conflict, InvalidRequest
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate
from tests.agent_backend.world import context_for, user_input

ALICE = context_for("alice")
COMMON: dict[str, Any] = {"thread_id": "thr_1", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
QUESTION = StructuredInputFreeform(id="q", question="Why?")
ITEMS: list[ThreadItem] = [
    UserMessageItem(id="msg_1", content=[], inference_options=InferenceOptions(), **COMMON),
    StructuredInputItem(id="si_pending", inputs=[QUESTION], **COMMON),
    StructuredInputItem(id="si_done", inputs=[QUESTION], status="answered", **COMMON),
    WidgetItem(id="wid_1", widget=BasicRoot(children=[]), **COMMON),
    ClientToolCallItem(id="tc_1", call_id="c1", name="t", arguments={}, **COMMON),
]
MESSAGE = user_input("Hi")
ACTION = {"type": "x", "payload": {}}
CASES: list[tuple[str, dict[str, Any], type[Exception] | None]] = [
    ("threads.create", {"input": MESSAGE}, None),
    ("threads.create", {"input": {**MESSAGE, "attachments": ["atc_1"]}}, None),
    ("threads.create", {"input": {**MESSAGE, "attachments": ["atc_1", "atc_none"]}}, NotFoundError),
    ("threads.create", {"input": {**MESSAGE, "attachments": ["atc_1"] * 101}}, InvalidRequest),
    ("threads.add_user_message", {"thread_id": "thr_1", "input": MESSAGE}, None),
    ("threads.add_user_message", {"thread_id": "thr_closed", "input": MESSAGE}, Conflict),
    ("threads.add_user_message", {"thread_id": "thr_none", "input": MESSAGE}, NotFoundError),
    ("threads.add_client_tool_output", {"thread_id": "thr_1", "result": 1}, None),
    ("threads.add_client_tool_output", {"thread_id": "thr_empty", "result": 1}, Conflict),
    ("threads.add_structured_input", {"thread_id": "thr_1", "item_id": "si_pending", "input": {}}, None),
    ("threads.add_structured_input", {"thread_id": "thr_1", "item_id": "si_done", "input": {}}, Conflict),
    ("threads.add_structured_input", {"thread_id": "thr_1", "item_id": "msg_1", "input": {}}, NotFoundError),
    ("threads.retry_after_item", {"thread_id": "thr_1", "item_id": "msg_1"}, None),
    ("threads.retry_after_item", {"thread_id": "thr_1", "item_id": "wid_1"}, NotFoundError),
    ("threads.custom_action", {"thread_id": "thr_1", "action": ACTION}, None),
    ("threads.custom_action", {"thread_id": "thr_1", "item_id": "wid_1", "action": ACTION}, None),
    ("threads.custom_action", {"thread_id": "thr_1", "item_id": "msg_1", "action": ACTION}, NotFoundError),
    ("threads.sync_custom_action", {"thread_id": "thr_none", "action": ACTION}, NotFoundError),
    ("items.feedback", {"thread_id": "thr_1", "item_ids": ["x"] * 101, "kind": "positive"}, InvalidRequest),
    ("threads.list", {}, None),
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A thread with one item of each kind, an empty one, and a closed one."""
    engine = build_engine(f"sqlite:///{tmp_path}/agent.sqlite3")
    await migrate(engine)
    store = SqlStore(engine=engine)
    for name in ("thr_1", "thr_empty"):
        await store.save_thread(ThreadMetadata(id=name, created_at=COMMON["created_at"]), ALICE)
    closed = ThreadMetadata(id="thr_closed", created_at=COMMON["created_at"], status=ClosedStatus())
    await store.save_thread(closed, ALICE)
    for item in ITEMS:
        await store.add_thread_item("thr_1", item, ALICE)
    await store.save_attachment(FileAttachment(id="atc_1", name="a", mime_type="text/plain"), ALICE)
    yield store
    await engine.dispose()


@pytest.mark.parametrize(("operation", "params", "expected"), CASES)
async def test_what_can_be_begun(
    store: SqlStore, operation: str, params: dict[str, Any], expected: type[Exception] | None
) -> None:
    """Missing is not found; there but in the wrong state is a conflict; the rest may begin."""
    request = TypeAdapter[ChatKitReq](ChatKitReq).validate_python({"type": operation, "params": params})

    if expected is None:
        await check_request(store, request, ALICE)
    else:
        with pytest.raises(expected):
            await check_request(store, request, ALICE)


async def test_nothing_can_be_begun_for_somebody_else(store: SqlStore) -> None:
    """Whatever needs something finds nothing of another user's."""
    adapter = TypeAdapter[ChatKitReq](ChatKitReq)
    for operation, params, expected in CASES:
        request = adapter.validate_python({"type": operation, "params": params})
        if expected is None and ("thread_id" in params or "atc_1" in str(params)):
            with pytest.raises(NotFoundError):
                await check_request(store, request, context_for("mallory"))
