"""Everything that runs while the attacks do: gateway, two backends, the issuers and their keys."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.trust.signing_keys import build_signing_key
from tests.attack import settings
from tests.attack.backend import running_backend
from tests.attack.issuers import IssuerAtWork, build_gateways_own, build_issuers
from tests.attack.key_server import KeyServer, Tripwire
from tests.attack.marks import EMAIL, NAME, ROLE, SUBJECT
from tests.attack.processes import Service, service
from tests.support.issuer import SigningKey
from tests.support.scripted import ScriptedBackend
from tests.support.servers import free_port


@dataclass(frozen=True, slots=True)
class GatewaysKey:
    """The key that the gateway signs with. The rows have it too: they play gateway towards the agent backend."""

    key: SigningKey

    @classmethod
    def generate(cls) -> "GatewaysKey":
        private = ec.generate_private_key(ec.SECP256R1())
        return cls(SigningKey(kid=build_signing_key(private).kid, algorithm="ES256", private=private))

    def pem(self) -> bytes:
        return self.key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def is_signed(self, data: bytes, signature: bytes) -> bool:
        public = self.key.private.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        try:
            public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return len(signature) == 64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What runs.

    Attributes:
        services: The real processes: ``gateway`` and ``agent``.
        tripwire: An address that requests name and nobody may visit.
        fading: Settings file and port of a gateway that soon gives up its keys; a row starts it.
        signing: The gateway's own key.
    """

    issuers: Mapping[str, IssuerAtWork]
    keys: KeyServer
    backend: ScriptedBackend
    services: Mapping[str, Service]
    tripwire: Tripwire
    signing: GatewaysKey
    folder: Path
    fading: tuple[Path, int]

    def token(self, issuer: str = "main", /, *, subject: str = SUBJECT, **changes: Any) -> str:
        """A good token of ``issuer``, or one changed as `Issuer.token` allows."""
        marked = {"name": NAME, "email": EMAIL, "roles": [ROLE], **changes}
        return self.issuers[issuer].issuer.token(subject, **marked)

    def claims(self, issuer: str = "main", /, **changes: Any) -> dict[str, Any]:
        return self.issuers[issuer].issuer.claims(SUBJECT, **{"name": NAME, "email": EMAIL, **changes})

    def key(self, issuer: str = "main", number: int = 0) -> SigningKey:
        return self.issuers[issuer].issuer.keys[number]


@contextlib.contextmanager
def build_world() -> Iterator[World]:
    """Start everything; all of it is gone at the end."""
    keys, tripwire, signing = KeyServer(), Tripwire(), GatewaysKey.generate()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attack-")))
        (folder / "signing.pem").write_bytes(signing.pem())
        stack.enter_context(keys.running())
        stack.enter_context(tripwire.armed())
        backend = stack.enter_context(running_backend())
        issuers = build_issuers(keys, tripwire)
        issuers["own"] = build_gateways_own(keys, signing.key)
        ports = {name: free_port() for name in ("gateway", "fading", "agent")}
        files = settings.write(folder, ports, issuers, keys=keys.url, backend_port=backend.port)
        services = {
            name: stack.enter_context(service(module, files[name], port=ports[name]))
            for name, module in (("gateway", "gateway"), ("agent", "agent_backend"))
        }
        for started in services.values():
            started.await_line(" ready on ")
        yield World(
            issuers=issuers,
            keys=keys,
            backend=backend,
            services=services,
            tripwire=tripwire,
            signing=signing,
            folder=folder,
            fading=(files["fading"], ports["fading"]),
        )
