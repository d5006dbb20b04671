"""Operation × foreign object: 404 as JSON before the first byte, and a database that is the same before and after.

Every request type that the installed ChatKit knows is in the table, or these tests fail: a new operation is answered
for somebody else's things only when somebody has thought about it.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ChatKitReq,
    ClientToolCallItem,
    FileAttachment,
    InferenceOptions,
    NonStreamingReq,
    StreamingReq,
    StructuredInputFreeform,
    StructuredInputItem,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    WidgetItem,
)
from chatkit.widgets import BasicRoot
from starlette.applications import Starlette

from agent_backend.app import build_app
from agent_backend.context import RequestContext
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate
from tests.agent_backend.world import Caller, World, context_for, running_app, user_input

NOW = datetime(2026, 11, 1, tzinfo=UTC)
QUESTION = StructuredInputFreeform(id="q", question="Why?")
ACTION = {"type": "checklist.toggle", "payload": {"number": 1}}

# Who asks: the owner's subject vouched for by another issuer, another subject, and the same in another tenant.
STRANGERS: dict[str, dict[str, Any]] = {
    "subject": {"user": "mallory"},
    "issuer": {"user": "alice", "claims": {"user_issuer": "https://evil.test"}},
    "tenant": {"user": "alice", "claims": {"tenant": "acme"}},
}

# What each operation can name, and how: `A` is the object asked for, `OWN` a thread of whoever asks.
A, OWN = "<name>", "<own thread>"
Case = tuple[str, str, dict[str, Any]]
CASES: list[Case] = [
    ("threads.create", "attachment", {"input": user_input("Hi", attachments=[A])}),
    ("threads.add_user_message", "thread", {"thread_id": A, "input": user_input("Hi")}),
    ("threads.add_user_message", "attachment", {"thread_id": OWN, "input": user_input("Hi", attachments=[A])}),
    ("threads.add_client_tool_output", "pending call's thread", {"thread_id": A, "result": {"ok": True}}),
    ("threads.add_structured_input", "thread", {"thread_id": A, "item_id": "si_1", "input": {}}),
    ("threads.add_structured_input", "structured input", {"thread_id": OWN, "item_id": A, "input": {}}),
    ("threads.retry_after_item", "thread", {"thread_id": A, "item_id": "msg_1"}),
    ("threads.retry_after_item", "message", {"thread_id": OWN, "item_id": A}),
    ("threads.custom_action", "thread", {"thread_id": A, "action": ACTION}),
    ("threads.custom_action", "widget", {"thread_id": OWN, "item_id": A, "action": ACTION}),
    ("threads.sync_custom_action", "thread", {"thread_id": A, "action": ACTION}),
    ("threads.sync_custom_action", "widget", {"thread_id": OWN, "item_id": A, "action": ACTION}),
    ("threads.get_by_id", "thread", {"thread_id": A}),
    ("threads.list", "thread as cursor", {"after": A}),
    ("threads.update", "thread", {"thread_id": A, "title": "Mine now"}),
    ("threads.delete", "thread", {"thread_id": A}),
    ("items.list", "thread", {"thread_id": A}),
    ("items.list", "item as cursor", {"thread_id": OWN, "after": A}),
    ("items.feedback", "thread", {"thread_id": A, "item_ids": ["msg_2"], "kind": "positive"}),
    ("items.feedback", "answer", {"thread_id": OWN, "item_ids": [A], "kind": "positive"}),
    ("attachments.delete", "attachment", {"attachment_id": A}),
]
# These name nothing that could be somebody else's.
NAMES_NOTHING = {"attachments.create", "input.transcribe"}

OBJECTS = {
    "thread": "thr_hers",
    "pending call's thread": "thr_waiting",
    "thread as cursor": "thr_hers",
    "attachment": "atc_hers",
    "structured input": "si_1",
    "message": "msg_1",
    "answer": "msg_2",
    "widget": "wid_1",
    "item as cursor": "msg_1",
}


def request_types() -> set[str]:
    """Every request type of the installed ChatKit."""
    union, _ = get_args(ChatKitReq)
    members = {member for kind in get_args(union) for member in (get_args(kind) or (kind,))}
    assert members == {*get_args(StreamingReq), *get_args(NonStreamingReq)}
    return {str(member.model_fields["type"].default) for member in members}


def items_of(thread_id: str) -> Iterator[ThreadItem]:
    """One of each kind that an operation can name."""
    common: dict[str, Any] = {"thread_id": thread_id, "created_at": NOW}
    yield UserMessageItem(id="msg_1", content=[], inference_options=InferenceOptions(), **common)
    yield AssistantMessageItem(id="msg_2", content=[AssistantMessageContent(text="private")], **common)
    yield StructuredInputItem(id="si_1", inputs=[QUESTION], **common)
    yield WidgetItem(id="wid_1", widget=BasicRoot(children=[]), **common)


async def fill(store: SqlStore, owner: RequestContext, stranger: RequestContext) -> None:
    """The owner's things, and one thread of the stranger's own."""
    for name in ("thr_hers", "thr_waiting"):
        await store.save_thread(ThreadMetadata(id=name, created_at=NOW, title="private"), owner)
    for item in items_of("thr_hers"):
        await store.add_thread_item("thr_hers", item, owner)
    call = ClientToolCallItem(
        id="tc_1", thread_id="thr_waiting", created_at=NOW, call_id="c1", name="t", arguments={"private": 1}
    )
    await store.add_thread_item("thr_waiting", call, owner)
    await store.save_attachment(FileAttachment(id="atc_hers", name="private.txt", mime_type="text/plain"), owner)
    await store.save_thread(ThreadMetadata(id="thr_own", created_at=NOW), stranger)


def dump(folder: Path) -> list[str]:
    """The whole database but the assertions used, which every request adds to; and the names of all files kept."""
    with sqlite3.connect(folder / "agent.sqlite3") as connection:
        lines = [line for line in connection.iterdump() if '"assertions"' not in line]
    connection.close()
    kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "sqlite3" not in path.name)
    return [*lines, *kept]


@pytest.fixture
def app(world: World) -> Starlette:
    attachments = {
        "directory": world.folder / "files",
        "public_url": "https://chat.test/attachments",
        "url_keys": ["x" * 32],
    }
    return build_app(world.settings(attachments=attachments))


@pytest.fixture(params=STRANGERS)
async def stranger(request: pytest.FixtureRequest, world: World, app: Starlette) -> AsyncIterator[Caller]:
    """Somebody who is not the owner, beside whom the owner has one of everything."""
    traits = STRANGERS[request.param]
    claims = traits.get("claims", {})
    user = {"issuer": claims.get("user_issuer", "https://login.test"), "tenant": claims.get("tenant")}
    engine = build_engine(f"sqlite:///{world.folder}/agent.sqlite3")
    await migrate(engine)
    await fill(SqlStore(engine=engine), context_for("alice"), context_for(traits["user"], **user))
    await engine.dispose()
    async with running_app(app) as http:
        (world.folder / "files" / "atc_hers").write_bytes(b"private")
        yield Caller(gateway=world.gateway, http=http, **traits)


def filled_in(params: dict[str, Any], name: str) -> dict[str, Any]:
    filled: dict[str, Any] = json.loads(json.dumps(params).replace(A, name).replace(OWN, "thr_own"))
    return filled


def test_every_operation_is_in_the_table() -> None:
    """One that a later ChatKit adds makes this fail, until it is said here what it can name."""
    assert {operation for operation, _, _ in CASES} | NAMES_NOTHING == request_types()


async def test_what_is_somebody_elses_is_not_there_and_stays_as_it_is(world: World, stranger: Caller) -> None:
    """All of the table, then the whole database compared: no row changed, none appeared, none went."""
    before = dump(world.folder)
    answers = {}
    for operation, what, params in CASES:
        answer = await stranger.send(operation, **filled_in(params, OBJECTS[what]))
        answers[operation, what] = (answer.status_code, answer.headers["content-type"], answer.json()["code"])
        assert "private" not in answer.text

    assert answers == dict.fromkeys(answers, (404, "application/problem+json", "not_found"))
    assert dump(world.folder) == before
    assert [entry["id"] for entry in (await stranger.send("threads.list")).json()["data"]] == ["thr_own"]


@pytest.mark.parametrize("stranger", ["subject"], indirect=True)
async def test_what_is_nowhere_is_answered_in_the_same_words(world: World, stranger: Caller) -> None:
    """Nobody can find out what others have: missing and foreign differ in nothing but the request's id."""
    before = dump(world.folder)
    for operation, what, params in CASES:
        foreign = await stranger.send(operation, **filled_in(params, OBJECTS[what]))
        missing = await stranger.send(operation, **filled_in(params, "thr_0"))
        told = [{**answer.json(), "request_id": None} for answer in (foreign, missing)]
        assert told[0] == told[1], (operation, what)

    assert dump(world.folder) == before


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    *((operation, {"thread_id": 7}) for operation in ("threads.get_by_id", "threads.delete", "items.list")),
    ("threads.add_user_message", {"thread_id": "thr_own", "input": "Hi"}),
    ("threads.add_structured_input", {"thread_id": "thr_own", "item_id": None, "input": {}}),
    ("threads.retry_after_item", {"thread_id": "thr_own"}),
    ("threads.custom_action", {"thread_id": "thr_own", "action": "x"}),
    ("threads.list", {"order": "sideways"}),
    ("items.feedback", {"thread_id": "thr_own", "item_ids": "x", "kind": "positive"}),
    ("attachments.delete", {}),
]
WRONG_STATE: list[tuple[str, dict[str, Any]]] = [
    ("threads.add_client_tool_output", {"thread_id": "thr_own", "result": 1}),
]


@pytest.mark.parametrize("stranger", ["subject"], indirect=True)
async def test_malformed_is_400_and_a_wrong_state_409(world: World, stranger: Caller) -> None:
    """As JSON and before the first byte, on streaming operations too; and nothing is left of it."""
    before = dump(world.folder)
    answers = [await stranger.send(operation, **params) for operation, params in [*MALFORMED, *WRONG_STATE]]

    assert [answer.status_code for answer in answers] == [400] * len(MALFORMED) + [409] * len(WRONG_STATE)
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert all(answer.json()["message"] for answer in answers)
    assert dump(world.folder) == before
