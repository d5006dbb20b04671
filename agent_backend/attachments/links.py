"""Links that carry their own permission: for uploads, previews and downloads that no cookie can accompany.

A link is at the gateway, with a `signature` in its query: whose attachment, which path, which method, for how many
minutes. The gateway checks it and says in its assertion who the owner is; we check it again and hold the two together,
so that neither a gateway's mistake nor a stolen assertion opens anything.

    PUT  ID/content     upload           GET  ID/content     download           GET  ID/preview     preview

Rules: several keys at once, oldest first: the last signs, all are accepted. A link ends after its minutes. The format
is the gateway's: itsdangerous' `URLSafeTimedSerializer` with SHA-256 and the salt below, over ``{"issuer", "subject",
"tenant"?, "method", "path", "minutes"}``. Knows nothing of rows or bytes.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from agent_backend.attachments.refusals import LinkRefused
from agent_backend.context import Owner
from agent_backend.problems import NotFound

SALT: Final = "gateway.signed-url"
PARAMETER: Final = "signature="
# Characters. A payload with a long path and a long subject has 1 KB.
MAX_SIGNATURE: Final = 4096
# Seconds that a replica's clock may be ahead of ours.
LEEWAY: Final = 30
# Minutes an upload may wait to begin: it is begun by the page right after the link was made.
UPLOAD_MINUTES: Final = 10
# Minutes a preview or download stays good: the gateway's own limit, and an open page's while.
VIEW_MINUTES: Final = 60

What = Literal["content", "preview"]
UploadMethod = Literal["PUT", "POST"]


class Links:
    """Makes links, and checks them.

    Args:
        public_url: Where the gateway's prefix route is: ``https://chat.example.com/attachments``.
        keys: Secrets shared with the gateway, oldest first.
        upload_method: Of uploads' links.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        public_url: str,
        keys: Sequence[str],
        upload_method: UploadMethod = "PUT",
        upload_minutes: int = UPLOAD_MINUTES,
        view_minutes: int = VIEW_MINUTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = public_url.rstrip("/")
        self._path = urlsplit(self._base).path
        self.upload_method: UploadMethod = upload_method
        self._upload_minutes = upload_minutes
        self._view_minutes = view_minutes
        self._clock = clock

        class ClockedSigner(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock())

        self._serializer: URLSafeTimedSerializer = URLSafeTimedSerializer(
            list(keys),
            salt=SALT,
            signer=ClockedSigner,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def __repr__(self) -> str:
        return f"<Links {self._base}>"

    def upload(self, attachment_id: str, owner: Owner) -> str:
        return self._signed(self.upload_method, attachment_id, "content", owner, self._upload_minutes)

    def download(self, attachment_id: str, owner: Owner) -> str:
        return self._signed("GET", attachment_id, "content", owner, self._view_minutes)

    def preview(self, attachment_id: str, owner: Owner) -> str:
        return self._signed("GET", attachment_id, "preview", owner, self._view_minutes)

    def place(self, attachment_id: str, what: What) -> str:
        """The link without its permission: what is stored."""
        return f"{self._base}/{attachment_id}/{what}"

    def check(self, method: str, attachment_id: str, what: What, query: str, owner: Owner) -> None:
        """Raise unless this request carries a permission for exactly this, of this owner.

        Args:
            query: Raw; nothing but the one signature.
            owner: Whom the assertion names.

        Raises:
            LinkRefused: No signature, not by our keys, for another method or path, or its minutes are over.
            NotFound: Somebody else's.
        """
        payload, age = self._load(query)
        minutes = payload.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int) or not -LEEWAY <= age < minutes * 60:
            raise LinkRefused(f"signed {age:.0f} s ago for {minutes!r:.20} minutes")
        target = ("GET" if method == "HEAD" else method, f"{self._path}/{attachment_id}/{what}")
        if (payload.get("method"), payload.get("path")) != target:
            raise LinkRefused(f"signed for another target than {' '.join(target):.200}")
        if payload_owner(payload) != owner:
            raise NotFound("the link's owner is not the asserted one")

    def _load(self, query: str) -> tuple[dict[str, Any], float]:
        """The payload, and how many seconds ago it was signed."""
        signature = query.removeprefix(PARAMETER)
        if not query.startswith(PARAMETER) or "&" in signature or len(signature) > MAX_SIGNATURE:
            raise LinkRefused("the query is no signature")
        try:
            payload, signed_at = self._serializer.loads(signature, return_timestamp=True)
        except BadData as exc:
            raise LinkRefused(f"signature: {type(exc).__name__}") from exc
        if not isinstance(payload, dict):
            raise LinkRefused("the payload is no object")
        return payload, self._clock() - signed_at.timestamp()

    def _signed(self, method: str, attachment_id: str, what: What, owner: Owner, minutes: int) -> str:
        payload: dict[str, Any] = {
            "issuer": owner.issuer,
            "subject": owner.subject,
            "method": method,
            "path": f"{self._path}/{attachment_id}/{what}",
            "minutes": minutes,
        }
        if owner.tenant:
            payload["tenant"] = owner.tenant
        return f"{self.place(attachment_id, what)}?{PARAMETER}{self._serializer.dumps(payload)}"


def payload_owner(payload: dict[str, Any]) -> Owner | None:
    named = (payload.get("issuer"), payload.get("subject"), payload.get("tenant", ""))
    if not all(isinstance(value, str) for value in named):
        return None
    issuer, subject, tenant = named
    return Owner(issuer=str(issuer), subject=str(subject), tenant=str(tenant))
