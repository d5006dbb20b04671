"""One log line per request, and the request id."""

import asyncio
import logging
from typing import Any

import pytest

from gateway.errors import (
    AccessDenied,
    BackendRefused,
    BackendTimeout,
    ClientDisconnected,
    CrossSiteRequest,
    Draining,
    GatewayBusy,
    GatewayError,
    InternalError,
    KeysUnavailable,
    MalformedBody,
    RateLimited,
    SignInEnded,
    TokenInvalid,
)
from gateway.identity import Identity
from gateway.wire.access_log import AccessLog, find_request_id, is_sampled
from gateway.wire.asgi import Message, Receive, Scope, Send
from gateway.wire.record import RequestRecord, record_of
from gateway.wire.turns import PATIENCE, Lull
from tests.gateway.wire.test_answers import Sent


async def silent() -> Message:
    raise AssertionError("nobody reads here")


def answering(
    failure: GatewayError | None = None, *, finish: bool = True, status: int = 200, streaming: bool = False
) -> Any:
    """An app that answers ``hello`` in two pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).failure = failure
        record_of(scope).streaming = streaming
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b"1")]})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        if finish:
            await send({"type": "http.response.body", "body": b"lo"})

    return app


async def run(app: Any, *, path: str = "/chatkit", headers: Any = (), **options: Any) -> Sent:
    sent = Sent()
    ticks = iter(range(100))
    log = AccessLog(
        app,
        quiet_paths=frozenset({"/livez"}),
        clock=lambda: float(next(ticks)),
        make_id=lambda: "made-here",
        **options,
    )
    try:
        await log({"type": "http", "method": "POST", "path": path, "headers": list(headers)}, silent, sent)
    finally:
        log.settle()
    return sent


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([b"0123abcd-ABCD_.x"], "0123abcd-ABCD_.x"),
        ([b"a" * 64], "a" * 64),
        ([b"a" * 65], None),
        ([b"short"], None),
        ([b"with space"], None),
        ([b"line\nbreak00"], None),
        ([b"12345678\n"], None),
        ([b"<script>alert"], None),
        ([b"first000", b"second00"], None),
        ([], None),
    ],
)
def test_a_request_id_is_kept_only_when_it_is_a_plain_token(values: list[bytes], kept: str | None) -> None:
    """It goes to the log, to the backend and back: nothing that could mean something there."""
    assert find_request_id(values) == kept


@pytest.mark.parametrize(("given", "sent_back"), [(b"from-the-proxy", b"from-the-proxy"), (b"bad id", b"made-here")])
async def test_the_answer_carries_the_request_id(given: bytes, sent_back: bytes) -> None:
    """Kept when well-formed, replaced otherwise; the app's own headers stay."""
    sent = await run(answering(), headers=[(b"x-request-id", given)])

    assert sent[0]["headers"] == [(b"etag", b"1"), (b"x-request-id", sent_back)]


async def test_one_line_with_what_really_went_out(caplog: pytest.LogCaptureFixture) -> None:
    """Status, bytes and times as seen at the outermost place."""
    with caplog.at_level(logging.INFO):
        await run(answering())
    fields: dict[str, Any] = vars(caplog.records[0])["fields"]

    assert len([entry for entry in caplog.records if entry.name == "gateway.access"]) == 1
    assert {name: fields[name] for name in ("status", "ended_by", "bytes_out", "first_byte_ms", "duration_ms")} == {
        "status": 200,
        "ended_by": "complete",
        "bytes_out": 5,
        "first_byte_ms": 1000.0,
        "duration_ms": 2000.0,
    }


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (None, logging.INFO),
        (TokenInvalid("no"), logging.INFO),
        (RateLimited("fast", retry_after=1), logging.INFO),
        (BackendTimeout("slow"), logging.WARNING),
        (Draining("bye"), logging.WARNING),
        (GatewayBusy("full", retry_after=1), logging.WARNING),
        (KeysUnavailable("down"), logging.ERROR),
        (InternalError("bug"), logging.ERROR),
    ],
)
async def test_who_is_at_fault_decides_the_level(
    caplog: pytest.LogCaptureFixture, failure: GatewayError | None, level: int
) -> None:
    """A client cannot fill the operator's warnings."""
    with caplog.at_level(logging.INFO):
        await run(answering(failure))

    entries = [entry for entry in caplog.records if entry.name == "gateway.access"]
    assert [entry.levelno for entry in entries] == [level]
    assert vars(entries[0])["fields"].get("reason") == (str(failure) if failure else None)


async def test_an_unfinished_answer_is_told_from_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    """Truncation is visible."""
    with caplog.at_level(logging.INFO):
        await run(answering(finish=False))

    assert vars(caplog.records[0])["fields"]["ended_by"] == "gateway"
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(("failure", "lines"), [(None, 0), (TokenInvalid("no"), 1)])
async def test_probes_are_quiet_until_they_fail(
    caplog: pytest.LogCaptureFixture, failure: GatewayError | None, lines: int
) -> None:
    """They ask every few seconds."""
    with caplog.at_level(logging.INFO):
        await run(answering(failure), path="/livez")

    assert len([entry for entry in caplog.records if entry.name == "gateway.access"]) == lines


async def test_other_scopes_pass(caplog: pytest.LogCaptureFixture) -> None:
    """A lifespan is no request."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    with caplog.at_level(logging.INFO):
        await AccessLog(app)({"type": "lifespan"}, silent, Sent())

    assert (seen, caplog.records) == (["lifespan"], [])


async def test_whoever_counts_is_told_once_when_all_is_over() -> None:
    """One call for each request: the record, the time, and who ended it; the backend's answer is let go of then."""
    told: list[tuple[str | None, float, str]] = []
    kept: list[RequestRecord] = []

    def on_end(record: RequestRecord, ended: float, ended_by: str) -> None:
        told.append((record.route, ended, ended_by))
        kept.append(record)

    await run(answering(ClientDisconnected("left"), finish=False), on_end=on_end)

    assert told == [(None, 2.0, "client")]
    assert kept[0].answer is None


async def test_a_heartbeat_is_no_first_byte(caplog: pytest.LogCaptureFixture) -> None:
    """While the backend is silent only we speak: people wait for its first word."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b":\n", b":\n", b"data: 1\n\n"):
            await send({"type": "http.response.body", "body": piece, "more_body": piece == b":\n"})

    with caplog.at_level(logging.INFO):
        await run(app, heartbeat=b":\n")
    fields = vars(caplog.records[0])["fields"]

    # The clock ticks at the start, at the first byte and at the end.
    assert (fields["first_byte_ms"], fields["duration_ms"]) == (1000.0, 2000.0)


@pytest.mark.parametrize(
    ("app", "is_kept"),
    [
        (answering(), False),
        (answering(ClientDisconnected("left"), streaming=True), False),
        (answering(ClientDisconnected("left")), True),
        (answering(finish=False), True),
        (answering(status=404), True),
        (answering(TokenInvalid("no"), status=401), True),
        (answering(RateLimited("fast", retry_after=1), streaming=True), True),
        (answering(BackendTimeout("slow"), streaming=True), True),
        (answering(Draining("bye"), streaming=True), True),
        (answering(SignInEnded("its time"), streaming=True), True),
    ],
)
async def test_only_what_went_well_may_be_left_out(caplog: pytest.LogCaptureFixture, app: Any, is_kept: bool) -> None:
    """With a share of none: failures, refusals, and streams that anybody but their client cut are there all the
    same."""
    with caplog.at_level(logging.INFO):
        await run(app, sample_successes=0.0)
    lines = [vars(entry)["fields"] for entry in caplog.records if entry.name == "gateway.access"]

    assert len(lines) == is_kept
    assert [line.get("sample_rate") for line in lines] == [None] * len(lines)


async def test_the_request_id_decides_what_is_kept_and_the_line_says_the_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same requests in every log that goes by the id; whoever counts lines can multiply."""
    ids = [f"request-{number:04}" for number in range(400)]
    wanted = [name for name in ids if is_sampled(name, 0.25)]
    with caplog.at_level(logging.INFO):
        for name in ids:
            await run(answering(), headers=[(b"x-request-id", name.encode())], sample_successes=0.25)
    lines = [vars(entry)["fields"] for entry in caplog.records]

    assert [line["request_id"] for line in lines] == wanted
    assert {line["sample_rate"] for line in lines} == {0.25}
    assert 60 < len(wanted) < 140
    assert (is_sampled("any", 0.0), is_sampled("any", 1.0)) == (False, True)


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_the_line_says_which_trace_it_belongs_to(caplog: pytest.LogCaptureFixture) -> None:
    """The client's, or one that begins here."""
    with caplog.at_level(logging.INFO):
        await run(answering(), headers=[(b"traceparent", TRACE)])
        await run(answering())
    given, made = (vars(entry)["fields"]["trace_id"] for entry in caplog.records)

    assert given == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (len(made), made != given) == (32, True)


def refusing(failure: GatewayError, *, known: bool = False) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        record.route, record.failure = "support", failure
        if known:
            record.note_identity(Identity(issuer="https://login.test", subject="alice", expires_at=0))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def of_issuer(failure: GatewayError) -> GatewayError:
    failure.issuer = "https://login.test"
    return failure


@pytest.mark.parametrize(
    ("failure", "known", "audited"),
    [
        (TokenInvalid("no"), False, {"code": "token_invalid"}),
        (of_issuer(TokenInvalid("no")), False, {"code": "token_invalid", "issuer": "https://login.test"}),
        (CrossSiteRequest("evil"), False, {"code": "cross_site_request"}),
        (
            AccessDenied("no", rule="routes.support.require.roles"),
            True,
            {"code": "access_denied", "rule": "routes.support.require.roles", "issuer": "https://login.test"},
        ),
        (RateLimited("fast", retry_after=1), True, {"code": "rate_limited", "issuer": "https://login.test"}),
        (SignInEnded("its time"), True, None),
        (BackendRefused("no", status=403), True, None),
        (MalformedBody("no"), True, None),
        (GatewayBusy("full", retry_after=1), True, None),
    ],
)
async def test_each_refusal_is_audited(
    caplog: pytest.LogCaptureFixture, failure: GatewayError, known: bool, audited: dict[str, str] | None
) -> None:
    """Whom, where, why and from where, whatever the answer looks like and however few successes are logged; the user
    is the same digest as in the other lines."""
    with caplog.at_level(logging.INFO):
        await run(refusing(failure, known=known), sample_successes=0.0, find_client=lambda _: "192.0.2.1")
    lines = [entry for entry in caplog.records if entry.name == "gateway.audit"]
    fields = [{name: value for name, value in vars(line)["fields"].items() if value is not None} for line in lines]
    user = {"user": vars(caplog.records[0])["fields"]["user"]} if known else {}

    assert [line.getMessage() for line in lines] == ["refused"] * (audited is not None)
    for found in fields:
        assert len(found.pop("trace_id")) == 32
        assert found == {
            **(audited or {}),
            **user,
            "request_id": "made-here",
            "route": "support",
            "client": "192.0.2.1",
        }


async def end_several(log: AccessLog) -> None:
    """Three requests that end in the same turn of the loop."""
    for name in (b"request-1", b"request-2", b"request-3"):
        headers = [(b"x-request-id", name)]
        await log({"type": "http", "method": "GET", "path": "/chatkit", "headers": headers}, silent, Sent())


def ids(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(entry)["fields"]["request_id"] for entry in caplog.records if entry.name == "gateway.access"]


async def test_what_has_ended_is_written_in_the_next_lull(caplog: pytest.LogCaptureFixture) -> None:
    """In order, each once, with its own time; an answer does not wait for the lines of others."""
    told: list[tuple[str, float, str]] = []
    ticks = iter(range(100))
    lull = Lull()
    log = AccessLog(
        answering(),
        on_end=lambda record, ended, ended_by: told.append((record.request_id, ended, ended_by)),
        clock=lambda: float(next(ticks)),
        lull=lull,
    )
    with caplog.at_level(logging.INFO):
        await end_several(log)
        lull.offer()
        during = ids(caplog)
        await asyncio.sleep(0)
        await end_several(log)
        log.settle()
        await asyncio.sleep(0)

    names = ["request-1", "request-2", "request-3"]
    assert (during, ids(caplog)) == ([], names * 2)
    assert told == [(name, 3.0 * number + 2, "complete") for number, name in enumerate(names * 2)]


async def test_a_request_that_cannot_be_counted_does_not_take_the_others_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[str] = []

    def count(record: RequestRecord, _ended: float, _ended_by: str) -> None:
        if record.request_id == "request-2":
            raise RuntimeError("broken")
        counted.append(record.request_id)

    with caplog.at_level(logging.INFO):
        await run_once(AccessLog(answering(), on_end=count))

    assert counted == ["request-1", "request-3"]
    assert ids(caplog) == ["request-1", "request-2", "request-3"]
    assert [entry.levelno for entry in caplog.records] == [logging.INFO, logging.ERROR, logging.INFO]


def test_a_loop_that_stopped_before_a_lull_loses_nothing() -> None:
    """Its requests are told of with the next, in whatever loop that ends."""
    told: list[str] = []
    log = AccessLog(answering(), on_end=lambda record, _ended, _by: told.append(record.request_id))
    for _ in range(2):
        loop = asyncio.new_event_loop()
        ending = loop.create_task(end_several(log))
        ending.add_done_callback(lambda _: loop.stop())  # noqa: B023  # called in this round
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
    before = list(told)
    asyncio.run(run_once(log))

    assert before == []
    assert told == ["request-1", "request-2", "request-3"] * 3


async def run_once(log: AccessLog) -> None:
    await end_several(log)
    await asyncio.sleep(2 * PATIENCE)
