"""The listener's certificate, renewed under a client's eyes."""

import datetime
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.wire.tls import Certificate


def write_certificate(path: Path, kind: str) -> int:
    """A certificate with its key in one file; its serial number."""
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + pem)
    return certificate.serial_number


def served(certificate: Certificate, *, name: str | None = None, is_old: bool = False) -> int:
    """The serial number that a client meets, which asks for ``name`` or for none; no socket is needed for that."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version = ssl.TLSVersion.TLSv1_2 if is_old else ssl.TLSVersion.TLSv1_3
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = theirs.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("name", [None, "chat.example.com"])
@pytest.mark.parametrize("kinds", [("ec", "ec"), ("ec", "rsa"), ("rsa", "ec"), ("rsa", "rsa")])
def test_a_renewed_certificate_takes_the_place_of_the_old(
    tmp_path: Path, kinds: tuple[str, str], name: str | None, is_old: bool
) -> None:
    """Of another kind of key too: nobody meets the old one until it has expired, whatever the client likes better."""
    path = tmp_path / "server.pem"
    first = write_certificate(path, kinds[0])
    certificate = Certificate(path, None)
    before = served(certificate, name=name, is_old=is_old)
    second = write_certificate(path, kinds[1])

    assert certificate.renew()
    assert (before, served(certificate, name=name, is_old=is_old)) == (first, second)


def test_files_that_do_not_fit_change_nothing_and_are_said_once(tmp_path: Path) -> None:
    """As when the certificate is written before its key: the next look finds both."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    first = write_certificate(chain, "ec")
    key.write_bytes(chain.read_bytes())
    certificate = Certificate(chain, key)
    second = write_certificate(chain, "ec")

    with pytest.raises(ValueError, match="key values mismatch"):
        certificate.renew()
    assert not certificate.renew()
    assert served(certificate) == first

    os.replace(key, tmp_path / "old.pem")
    key.write_bytes(chain.read_bytes())
    assert certificate.renew()
    assert served(certificate) == second
