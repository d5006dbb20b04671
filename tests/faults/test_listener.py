"""The listener: TLS with a certificate that is renewed while it runs, and who the client is behind a proxy."""

import asyncio
import json
import shutil
import signal
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.faults.backend import Visit, listening, until
from tests.faults.client import Client
from tests.faults.operating import EVENT, log_lines, said, scripted
from tests.faults.process import GatewayProcess, serving
from tests.faults.test_reload import edit
from tests.support.tls import build_server_context


def new_certificate(folder: Path, place: Path) -> None:
    """A certificate of an authority of its own, put where the gateway reads it, and the authority beside it."""
    made = folder / "made"
    made.mkdir(exist_ok=True)
    build_server_context(made)
    shutil.copy(made / "ca.pem", place.with_name("ca.pem"))
    (made / "server.pem").replace(place)


async def connect_tls(gateway: GatewayProcess, authority: Path) -> tuple[Client, int]:
    """A connection that trusts this authority alone, and its certificate's serial number."""
    context = ssl.create_default_context(cafile=str(authority))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return Client(reader, writer), x509.load_der_x509_certificate(certificate).serial_number


async def test_a_certificate_is_renewed_and_the_streams_go_on(tmp_path: Path) -> None:
    """By its files alone, or by a signal; a broken one changes nothing and is said."""
    place = tmp_path / "tls" / "server.pem"
    place.parent.mkdir()
    new_certificate(tmp_path, place)
    authority = place.with_name("ca.pem")
    with serving(tmp_path, server=f'tls_certificate = "{place}"\ntls_check = 0.1') as gateway:
        async with scripted(gateway.backend_port, "same") as (script, _):
            old, first = await connect_tls(gateway, authority)
            old.write(gateway.request("stream"))
            await old.read_head()

            new_certificate(tmp_path, place)
            await said(gateway, "certificate renewed")
            renewed, second = await connect_tls(gateway, authority)

            place.write_text("nothing that is a certificate")
            await said(gateway, "certificate not renewed")
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings not reloaded")
            kept, third = await connect_tls(gateway, authority)

            elsewhere = place.with_name("other.pem")
            new_certificate(tmp_path, elsewhere)
            edit(tmp_path, lambda text: text.replace(str(place), str(elsewhere)))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            moved, fourth = await connect_tls(gateway, authority)

            script.finish.set()
            stream = await old.read_chunks()
            answer = await moved.ask(gateway.request("json", operation="threads.list"))
            for client in (old, renewed, kept, moved):
                client.close()

    assert len({first, second, third, fourth}) == 3
    assert second == third
    assert stream == ((EVENT, EVENT), True)
    assert answer.json() == {"from": "same"}
    assert len(log_lines(gateway.log, "certificate not renewed")) == 1


async def test_plain_http_and_old_tls_get_nowhere(tmp_path: Path) -> None:
    """No answer in clear on a TLS port, and no TLS below 1.2; a handshake that fails disturbs nobody."""
    place = tmp_path / "server.pem"
    new_certificate(tmp_path, place)
    with serving(tmp_path, server=f'tls_certificate = "{place}"') as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(gateway.request())
        in_clear = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", gateway.port, ssl=old)
        client, _ = await connect_tls(gateway, tmp_path / "ca.pem")
        answer = await client.ask(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        client.close()

    assert b"HTTP/" not in in_clear
    assert answer.status == 200


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [('["127.0.0.0/8"]', b"198.51.100.1"), ('["10.0.0.0/8"]', b"127.0.0.1"), ("[]", b"127.0.0.1")],
    ids=["trusted", "not trusted", "nobody"],
)
async def test_the_backend_learns_who_the_client_is(tmp_path: Path, trusted: str, expected: bytes) -> None:
    """From a proxy that is trusted, and from nobody else; what the client wrote itself never counts."""
    heads: list[bytes] = []

    async def script(visit: Visit) -> None:
        heads.append(visit.head)
        visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with serving(tmp_path, server=f"trusted_proxies = {trusted}") as gateway:
        async with listening(gateway.backend_port, script):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            asked = gateway.request("json", operation="threads.list")
            chain = b"X-Forwarded-For: 6.6.6.6, 198.51.100.1\r\nContent-Type"
            answer = await Client(reader, writer).ask(asked.replace(b"Content-Type", chain, 1))
            writer.close()
            assert await until(lambda: len(log_lines(gateway.log, "request")) == 1)

    assert answer.status == 200
    assert [line for line in heads[0].split(b"\r\n") if b"forwarded" in line.lower()] == [
        b"x-forwarded-for: " + expected
    ]
    assert json.loads(answer.body) == {}
