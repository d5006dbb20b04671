"""The listener's certificate: read at the start, and again when told or when its files change.

Rules: new files become a context of their own, which is used once all of it is good: so a certificate without its key
never gets into use, and an old one does not stay beside a new one with another kind of key. Connections that stand keep
what they have. TLS 1.2 and later, HTTP/1.1 alone.

Source: RFC 8996 (no TLS below 1.2); RFC 7301 (ALPN).
"""

import ssl
from pathlib import Path


class Certificate:
    """One certificate in use.

    Args:
        chain: PEM file: the certificate, then what leads from it to its authority.
        key: PEM file with its private key; None if that is in ``chain`` too.

    Attributes:
        context: For every connection of the listener; each takes the certificate that is in use when it begins.

    Raises:
        ValueError: The files cannot be used; it names them and says why.
    """

    def __init__(self, chain: Path, key: Path | None) -> None:
        self._seen: object = None
        self.take(chain, key)
        self.context = _build_context()
        # Called for each handshake, whether the client names a host or not.
        self.context.sni_callback = self._choose

    def take(self, chain: Path, key: Path | None) -> None:
        """Use these files for new connections. Raises ValueError, and changes nothing, if they cannot be used."""
        seen = _stamp(chain, key)
        context = _build_context()
        _load(context, chain, key)
        self._in_use, self._files, self._seen = context, (chain, key), seen

    def renew(self) -> bool:
        """Take the files again if they have changed. Whether they had.

        Raises:
            ValueError: They have, and cannot be used; said once for each change.
        """
        seen = _stamp(*self._files)
        if seen == self._seen:
            return False
        self._seen = seen
        self.take(*self._files)
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._in_use


def _build_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, chain: Path, key: Path | None) -> None:
    try:
        # Without a password given, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(chain, key, password=_no_password)
    except (OSError, ssl.SSLError) as exc:
        files = f"{chain}" if key is None else f"{chain} and {key}"
        raise ValueError(f"tls_certificate, tls_key: {files}: {exc}; a PEM certificate and its own key") from exc


def _no_password() -> str:
    raise ssl.SSLError("the key has a password; keep it in a file without one")


def _stamp(chain: Path, key: Path | None) -> object:
    """What changes when a file is written or replaced, a symbolic link to it included."""
    return [_file_stamp(path) for path in (chain, key) if path is not None]


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
