"""Several replicas as one place: which one gets a request, which one is left alone, and what is tried twice."""

import asyncio
import contextlib
import itertools
import logging
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gateway.backends.client import BackendClient, BackendRequest, ReplicaRules
from gateway.backends.replicas import find_home
from gateway.errors import BackendBusy, BackendInterrupted, BackendUnavailable, Draining
from tests.faults.backend import Visit, listening, until
from tests.faults.process import PATIENCE, reserved_port
from tests.gateway.backends.test_client import fetch
from tests.gateway.backends.world import build_replicated_client, build_request
from tests.support.scripted import Exchange, Script, ScriptedBackend, json_answer, scripted_backend
from tests.support.servers import free_port

ONE_IS_ENOUGH = ReplicaRules(eject_after=1, eject_for=60)


async def hold(exchange: Exchange) -> None:
    """A stream that goes on until the client leaves."""
    await exchange.start_stream()
    await exchange.gone()


async def die(exchange: Exchange) -> None:
    exchange.reset()


@contextlib.asynccontextmanager
async def replicas(
    *scripts: Script, rules: ReplicaRules | None = None, **limits: Any
) -> AsyncIterator[tuple[list[ScriptedBackend], BackendClient]]:
    """A backend for each script, and one client for them all."""
    async with contextlib.AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(scripted_backend(script)) for script in scripts]
        client = build_replicated_client(*(backend.port for backend in backends), rules=rules, **limits)
        stack.callback(client.close)
        yield backends, client


def requests_of(backends: list[ScriptedBackend]) -> list[int]:
    return [len(backend.exchanges) for backend in backends]


def ejected(client: BackendClient) -> list[bool]:
    return [pool.ejected for pool in client.pools()]


async def test_equals_take_turns() -> None:
    """A quiet backend's replicas all stay warm."""
    async with replicas(*[json_answer()] * 3) as (backends, client):
        for _ in range(9):
            await fetch(client)

    assert requests_of(backends) == [3, 3, 3]


async def test_the_least_busy_one_gets_the_next() -> None:
    """Streams fill the replicas evenly, and the place that becomes free is the next one's."""
    async with replicas(hold, hold, hold) as (_, client), contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(client.exchange(build_request()))
        for _ in range(4):
            assert sorted(pool.outstanding for pool in client.pools()) == [2, 3, 3]
            async with client.exchange(build_request()) as answer:
                assert [pool.outstanding for pool in client.pools()] == [3, 3, 3]
                assert await answer.wait_for_head(2)


async def test_a_replica_that_refuses_connections_is_never_noticed() -> None:
    """Nothing was sent, so each request is sent elsewhere; after some in a row it is left alone."""
    async with scripted_backend(json_answer()) as backend:
        client = build_replicated_client(free_port(), backend.port)
        for _ in range(20):
            assert await fetch(client) == (200, b"{}")
        states = client.pools()
        client.close()

    assert [(state.ejected, state.ejections) for state in states] == [(True, 1), (False, 0)]
    assert len(backend.exchanges) == 20


async def test_one_retry_and_not_two() -> None:
    """The error is the second one's, and has both addresses in it."""
    ports = [free_port() for _ in range(3)]
    client = build_replicated_client(*ports)
    with pytest.raises(BackendUnavailable) as caught:
        await fetch(client)
    named = [port for port in ports if f"http://agent.test:{port}: " in str(caught.value)]

    assert len(named) == 2
    assert str(caught.value).count("; before that http://agent.test:") == 1


async def test_what_was_sent_is_never_sent_again() -> None:
    """A replica that dies without a word may have heard it all the same."""
    async with replicas(die, die) as (backends, client):
        with pytest.raises(BackendInterrupted):
            await fetch(client)

    assert sorted(requests_of(backends)) == [0, 1]


async def test_a_body_in_pieces_is_tried_elsewhere_too() -> None:
    """Nothing of it has been asked for yet when the connection is refused."""
    async with scripted_backend(json_answer()) as backend:
        client = build_replicated_client(free_port(), backend.port)
        for _ in range(4):
            request = BackendRequest(method="PUT", path=b"/x", headers=[], body=None, length=3)
            async with client.exchange(request) as answer:
                await answer.send(b"abc")
                answer.finish_sending()
                assert await answer.wait_for_head(2)
        client.close()

    assert [exchange.body for exchange in backend.exchanges] == [b"abc"] * 4


async def test_a_full_replica_is_passed_over_and_blamed_for_nothing() -> None:
    """`max_connections` is our own bound; a request finds the one with room, and is refused when all are full."""
    async with replicas(hold, hold, rules=ONE_IS_ENOUGH) as (backends, _):
        ports = [backend.port for backend in backends]
        client = build_replicated_client(*ports, rules=ONE_IS_ENOUGH, max_connections=1)
        thread = home_of(ports, 0)
        async with client.exchange(build_request(affinity=thread)), client.exchange(build_request(affinity=thread)):
            assert [pool.outstanding for pool in client.pools()] == [1, 1]
            with pytest.raises(BackendBusy, match="all 1 connections are taken"):
                await fetch(client)
            assert ejected(client) == [False, False]
        client.close()


@pytest.mark.parametrize(
    "sick", [die, json_answer(status=b"503 Busy"), json_answer(status=b"502 Bad"), json_answer(b"", status=b"9 9")]
)
async def test_a_replica_that_dies_or_says_that_it_cannot_is_ejected(
    sick: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Two in a row here; the log says once who and why."""
    rules = ReplicaRules(eject_after=2, eject_for=60)
    async with replicas(sick, json_answer(), rules=rules) as (backends, client):
        for _ in range(10):
            with contextlib.suppress(Exception):
                await fetch(client)

        assert ejected(client) == [True, False]
    assert requests_of(backends) == [2, 8]
    (line,) = (record for record in caplog.records if record.message == "replica ejected")
    assert (line.levelno, line.fields["backend"]) == (logging.WARNING, "support")  # type: ignore[attr-defined]
    assert line.fields["replica"] == f"http://agent.test:{backends[0].port}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [b"500 Oops", b"401 No", b"404 No", b"429 Slow"])
async def test_an_answer_that_concerns_the_request_ejects_nobody(status: bytes) -> None:
    """Or one bad request, sent again and again, would take every replica from everybody."""
    async with replicas(json_answer(status=status), json_answer(), rules=ONE_IS_ENOUGH) as (backends, client):
        for _ in range(6):
            await fetch(client)

        assert ejected(client) == [False, False]
    assert requests_of(backends) == [3, 3]


async def test_a_replica_that_does_not_answer_is_ejected_and_a_client_that_leaves_ejects_nobody() -> None:
    """Silence until the time is over counts; a wait that somebody gave up does not."""

    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    async def ask(client: BackendClient, *, left: bool) -> None:
        async with client.exchange(build_request()) as answer:
            await answer.wait_for_head(0.01)
            if left:
                raise asyncio.CancelledError

    async with replicas(silent, silent, rules=ONE_IS_ENOUGH) as (_, client):
        with contextlib.suppress(asyncio.CancelledError):
            await ask(client, left=True)
        assert ejected(client) == [False, False]
        await ask(client, left=False)
        assert sorted(ejected(client)) == [False, True]


async def test_the_end_of_a_drain_ejects_nobody() -> None:
    """We broke it off, not the replica."""
    async with replicas(hold, hold, rules=ONE_IS_ENOUGH) as (_, client):
        async with client.exchange(build_request()) as answer:
            assert await answer.wait_for_head(2)
            client.end_exchanges(Draining("time is up"))
            with pytest.raises(Draining):
                await answer.read(1)

        assert ejected(client) == [False, False]


async def test_with_all_ejected_every_one_is_asked() -> None:
    """A slim chance is better than a certain refusal; the first answer brings its replica back."""
    sick = True

    async def script(exchange: Exchange) -> None:
        await (die if sick else json_answer())(exchange)

    async with replicas(script, script, rules=ONE_IS_ENOUGH) as (backends, client):
        for _ in range(4):
            with pytest.raises(BackendInterrupted):
                await fetch(client)
        assert (ejected(client), requests_of(backends)) == ([True, True], [2, 2])

        sick = False
        assert await fetch(client) == (200, b"{}")
        assert sorted(ejected(client)) == [False, True]


async def test_a_replica_comes_back_with_its_first_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Tried once its time is over, and back with the answer's head: the end of a stream may be minutes away."""
    caplog.set_level(logging.INFO)

    async def revived(visit: Visit) -> None:
        visit.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        await visit.gone()

    with reserved_port() as port:
        async with scripted_backend(json_answer()) as backend, contextlib.AsyncExitStack() as stack:
            rules = ReplicaRules(eject_after=1, eject_for=0.05)
            client = build_replicated_client(port, backend.port, rules=rules)
            stack.callback(client.close)
            await fetch(client)
            await fetch(client)
            assert ejected(client) == [True, False]

            await stack.enter_async_context(listening(port, revived))
            async with asyncio.timeout(PATIENCE):
                while ejected(client)[0]:
                    answer = await stack.enter_async_context(client.exchange(build_request(b"")))
                    assert await answer.wait_for_head(2)
            assert (client.pools()[0].outstanding, client.pools()[0].ejections) == (1, 1)

    said = [record.message for record in caplog.records if record.name == "gateway.backends"]
    assert (said[0], said[-1]) == ("replica ejected", "replica is back")
    assert (said.count("replica ejected"), said.count("replica is back")) == (1, 1)


async def test_a_replica_that_takes_no_connection_costs_one_wait_and_no_request() -> None:
    """A host that is gone without a word: `connect_timeout` once, then it is left alone."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            # What its queue has no room for is left without an answer.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with scripted_backend(json_answer()) as backend:
            ports = full.getsockname()[1], backend.port
            client = build_replicated_client(*ports, rules=ONE_IS_ENOUGH, connect_timeout=0.1)
            home = home_of(ports, 0)
            for _ in range(10):
                assert await fetch(client, build_request(affinity=home)) == (200, b"{}")
            states = client.pools()
            client.close()

    assert [(state.ejected, state.ejections, state.open) for state in states] == [(True, 1, 0), (False, 0, 1)]


def home_of(ports: Sequence[int], index: int) -> str:
    """A thread that is at home at the replica with this index."""
    names = [f"http://agent.test:{port}" for port in ports]
    return next(thread for thread in map("thr_{}".format, itertools.count()) if find_home(names, thread) == index)


async def test_a_thread_stays_at_home() -> None:
    """Whoever is less busy meanwhile; what names no thread goes to the least busy one."""
    async with replicas(json_answer(), json_answer(), json_answer()) as (backends, client):
        homes = [home_of([backend.port for backend in backends], index) for index in range(3)]
        for index, count in ((0, 7), (1, 2), (2, 4)):
            for _ in range(count):
                await fetch(client, build_request(affinity=homes[index]))
        assert requests_of(backends) == [7, 2, 4]

        for _ in range(3):
            await fetch(client)
        assert requests_of(backends) == [8, 3, 5]


async def test_a_thread_whose_home_is_out_goes_to_the_least_busy_and_comes_back() -> None:
    """Its home is where it was as soon as it is tried and answers."""
    sick = True

    async def script(exchange: Exchange) -> None:
        await (die if sick else json_answer())(exchange)

    rules = ReplicaRules(eject_after=1, eject_for=0.1)
    async with replicas(script, json_answer(), json_answer(), rules=rules) as (backends, client):
        thread = build_request(affinity=home_of([backend.port for backend in backends], 0))
        with pytest.raises(BackendInterrupted):
            await fetch(client, thread)
        sick = False
        for _ in range(2):
            await fetch(client, thread)
        away = requests_of(backends)
        async with asyncio.timeout(PATIENCE):
            while ejected(client)[0]:
                await fetch(client, thread)
        before = requests_of(backends)
        for _ in range(3):
            await fetch(client, thread)

        assert away == [1, 1, 1]
        assert requests_of(backends) == [before[0] + 3, *before[1:]]


NAMES = [f"http://agent-{number}:9000" for number in range(5)]
THREADS = [f"thr_{number}" for number in range(2000)]


def homes_among(names: Sequence[str]) -> dict[str, str]:
    return {thread: names[find_home(names, thread)] for thread in THREADS}


def test_homes_are_the_same_for_every_gateway() -> None:
    """In whatever order its settings name the replicas."""
    shuffled = random.Random(1).sample(NAMES, len(NAMES))

    assert homes_among(NAMES) == homes_among(shuffled)


def test_homes_are_spread() -> None:
    """Each replica is home to about as many: 400 of 2,000 on average."""
    counts = Counter(homes_among(NAMES).values())

    assert sorted(counts) == NAMES
    assert all(300 < count < 500 for count in counts.values())


def test_only_what_was_at_home_there_moves() -> None:
    """When a replica goes, and so when it comes."""
    before, after = homes_among(NAMES), homes_among(NAMES[:-1])

    assert {before[thread] for thread in THREADS if before[thread] != after[thread]} == {NAMES[-1]}


@pytest.mark.parametrize("thread", ["", "\0", "\ud800", "😀", "x" * 100_000])
def test_any_string_has_a_home(thread: str) -> None:
    """It is the client's word, half surrogate pairs included."""
    assert find_home(NAMES, thread) in range(5)


async def test_what_operators_see() -> None:
    """Each replica, its connections, and whether it is out."""
    async with scripted_backend(json_answer()) as backend:
        port = free_port()
        client = build_replicated_client(port, backend.port, rules=ONE_IS_ENOUGH)
        for _ in range(3):
            await fetch(client)

        assert repr(client) == (
            f"<Backend support http://agent.test:{port} 0 active, 0 idle, ejected; "
            f"http://agent.test:{backend.port} 0 active, 1 idle>"
        )
        assert [(state.backend, state.address, state.ejected) for state in client.pools()] == [
            ("support", f"http://agent.test:{port}", True),
            ("support", f"http://agent.test:{backend.port}", False),
        ]
        client.close()


async def test_retired_replicas_keep_no_connection() -> None:
    """All of them."""
    async with replicas(json_answer(), json_answer(), keep_alive=600) as (backends, client):
        await fetch(client)
        await fetch(client)
        assert [pool.idle for pool in client.pools()] == [1, 1]

        client.retire()
        assert await until(lambda: [backend.open for backend in backends] == [0, 0])
        await fetch(client)
        assert await until(lambda: [pool.open for pool in client.pools()] == [0, 0])


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_idle_connection_is_looked_at_before_it_is_used(how: str) -> None:
    """The backend has closed, and the loop has had no turn to hear of it: the request is not written into the void."""
    with socket.create_server(("127.0.0.1", 0)) as listener, reserved_port() as nobody:
        listener.setblocking(False)
        ports = listener.getsockname()[1], nobody
        client = build_replicated_client(*ports)
        thread = build_request(b"", affinity=home_of(ports, 0))
        async with client.exchange(thread) as answer:
            with await accept_and_answer(listener) as theirs:
                while await answer.read(2) != b"":
                    pass
                if how == "reset":
                    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert client.pools()[0].idle == 1  # as far as the loop knows

        async with client.exchange(thread) as answer:
            with await accept_and_answer(listener):
                assert await answer.wait_for_head(2)
        client.close()


async def accept_and_answer(listener: socket.socket) -> socket.socket:
    """The next connection, its one request answered."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        connection, _ = await loop.sock_accept(listener)
        assert await loop.sock_recv(connection, 65536)
        await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    return connection
