"""Several workers behind one port: one that dies is replaced, the others' streams go on, the end is everybody's."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.trust.signing_keys import load_signing_key
from tests.faults.backend import until
from tests.faults.client import Client, connect
from tests.faults.operating import EVENT, Load, log_lines, open_streams, said, scripted
from tests.faults.process import GatewayProcess, serving
from tests.faults.test_draining import await_readiness, readiness
from tests.faults.test_reload import ALLOW_LISTS, ask, edit


def workers_of(gateway: GatewayProcess) -> set[int]:
    """The processes that it has started, as the system knows them."""
    text = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    return {int(number) for number in text.split()}


def living(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def is_owner(pid: int, client: Client) -> bool:
    """Has this process the other end of the client's connection?"""
    mine = client.writer.get_extra_info("sockname")[1]
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[2].split(":")[1], 16) == mine and row[9] in inodes for row in rows)


async def test_one_that_dies_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """Killed with streams open: only its own break; there are three again, and everybody is served."""
    with serving(tmp_path, server="workers = 3") as gateway:
        async with scripted(gateway.backend_port, "same") as (script, _), open_streams(gateway, 30) as clients:
            before = workers_of(gateway)
            victim = next(pid for pid in before if any(is_owner(pid, client) for client in clients))
            broken = [client for client in clients if is_owner(victim, client)]
            os.kill(victim, signal.SIGKILL)
            line = await said(gateway, "worker died, and is replaced")
            assert await until(lambda: len(workers_of(gateway) - {victim}) == 3)
            async with Load(gateway) as load:
                assert await until(lambda: load.answers["same"] > 500)
            script.finish.set()
            streams = {client: await client.read_chunks() for client in clients}
            assert await readiness(gateway.port) == 200

    assert (len(before), line["pid"], line["exit_code"]) == (3, victim, -signal.SIGKILL)
    assert {client for client, (_, whole) in streams.items() if not whole} == set(broken)
    assert {streams[client] for client in clients if client not in broken} <= {((EVENT, EVENT), True)}
    assert (load.faults, set(load.answers)) == ([], {"same"})


async def test_the_end_is_everybodys(tmp_path: Path) -> None:
    """SIGTERM to the first process: none ready, streams finish in every worker, exit code 0, nobody left."""
    with serving(tmp_path, server="workers = 2\ndrain_delay = 1\ndrain_timeout = 10") as gateway:
        async with scripted(gateway.backend_port, "same") as (script, _), open_streams(gateway, 12) as clients:
            workers = workers_of(gateway)
            gateway.process.send_signal(signal.SIGTERM)
            await await_readiness(gateway.port, 503)
            script.finish.set()
            streams = [await client.read_chunks() for client in clients]
            assert await until(lambda: gateway.process.poll() is not None)

    assert gateway.process.returncode == 0
    assert streams == [((EVENT, EVENT), True)] * 12
    assert not living(workers)


async def test_workers_do_not_outlive_who_started_them(tmp_path: Path) -> None:
    """Even if that was killed: they drain and go, instead of holding the port for ever."""
    with serving(tmp_path, server="workers = 2\ndrain_delay = 0\ndrain_timeout = 1") as gateway:
        workers = workers_of(gateway)
        gateway.process.kill()
        gone = await until(lambda: not living(workers))

    assert (len(workers), gone) == (2, True)


async def test_a_reload_reaches_every_worker_and_their_successors(tmp_path: Path) -> None:
    """What is refused is said once; what is taken, holds for a worker that starts later too."""
    with serving(tmp_path, server="workers = 2") as gateway:
        async with scripted(gateway.backend_port, "same"):
            edit(tmp_path, lambda text: text.replace("[routes.support]", "[routes.support"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings not reloaded")
            edit(tmp_path, lambda text: text.replace("[routes.support", ALLOW_LISTS))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded", 2)
            for pid in workers_of(gateway):
                os.kill(pid, signal.SIGKILL)
            await said(gateway, "worker died, and is replaced", 2)
            assert await until(lambda: len(workers_of(gateway)) == 2)
            answers = {await ask(gateway, "threads.delete") for _ in range(20)}

    assert answers == {(403, "operation_forbidden")}
    assert len(log_lines(gateway.log, "settings not reloaded")) == 1


async def test_one_key_signs_for_all(tmp_path: Path) -> None:
    """Without a key file each process would make its own, and a backend would know one of them."""
    with serving(tmp_path, server="workers = 3") as gateway:
        keys = set()
        for _ in range(30):
            async with connect(gateway.port) as client:
                keys.add((await client.ask(b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\n\r\n")).body)

    assert len(keys) == 1


async def test_who_comes_after_a_rotation_signs_with_the_new_key(tmp_path: Path) -> None:
    """A reload brought another key file: a worker that starts later has the key of its siblings, not the first one."""
    names = [tmp_path / "old.pem", tmp_path / "new.pem"]
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        name.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    trust = f'workers = 2\n[trust]\nsigning_keys = ["{names[0]}"]'
    with serving(tmp_path, server=trust) as gateway:
        edit(tmp_path, lambda text: text.replace(str(names[0]), str(names[1])))
        gateway.process.send_signal(signal.SIGHUP)
        await said(gateway, "settings reloaded", 2)
        before = workers_of(gateway)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await said(gateway, "worker died, and is replaced", 2)
        assert await until(lambda: len(workers_of(gateway) - before) == 2)
        async with connect(gateway.port) as client:
            published = (await client.ask(b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\n\r\n")).json()

    assert [key["kid"] for key in published["keys"]] == [load_signing_key(names[1]).kid]


@pytest.mark.parametrize("count", ["0", "257", "many"])
def test_a_number_that_makes_no_sense_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is expected, before anything starts."""
    from gateway.__main__ import main

    with pytest.raises(SystemExit) as refused:
        main(["serve", "--workers", count])

    assert refused.value.code == 2
    assert "--workers" in capsys.readouterr().err
