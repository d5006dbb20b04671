"""A body's metadata: which names in it are the gateway's, what it writes there, and what is left of the client's.

Rules: the identity is ours; whatever the client sent under a reserved name, in any spelling, is gone. What the gateway
writes is ASCII and the same text for every kind of body. Knows nothing of where in a body metadata stands. Pure.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from gateway.identity import Identity

# Characters. Names that are reserved, with more disguise than any reader looks through; folding costs time.
MAX_FOLDED: Final = 64

# What the gateway writes; compared by `fold`, which leaves the letters and digits of a name.
RESERVED: Final = frozenset({"userid", "userinfo", "gateway"})

_no_letters = re.compile(r"[\W_]+")
_quote = json.encoder.encode_basestring_ascii


def user_info(identity: Identity) -> Mapping[str, Any]:
    """The user as backends and pages are told: ``{id, name, email, roles}``."""
    return {"id": identity.subject, "name": identity.name, "email": identity.email, "roles": identity.roles}


def is_reserved(name: str) -> bool:
    """Might a reader take this for one of the gateway's names?"""
    return fold(name) in RESERVED


@lru_cache(maxsize=1024)
def fold(name: str) -> str:
    """One form for all spellings that a careless reader might take for the same name; empty for what is too long.

    Remembered: the names of a page's metadata are the same at every request.
    """
    if len(name) > MAX_FOLDED:
        return ""
    if name.isascii():
        return _no_letters.sub("", name.lower())
    return _no_letters.sub("", unicodedata.normalize("NFKD", name).upper().casefold())


def write_ours(identity: Identity, *, request_id: str, locale: str | None) -> str:
    """The gateway's members of `metadata`, as JSON text without the braces around them."""
    return (
        f'{_write_user(identity)},"gateway":{{"requestId":{_quote(request_id)},"issuer":{_quote(identity.issuer)},'
        f'"locale":{"null" if locale is None else _quote(locale)}}}'
    )


@lru_cache(maxsize=4096)
def _write_user(identity: Identity) -> str:
    """What is the same at every request of a user; one who is signed in makes hundreds."""
    written = json.dumps({"userId": identity.subject, "userInfo": user_info(identity)}, separators=(",", ":"))
    return written[1:-1]
