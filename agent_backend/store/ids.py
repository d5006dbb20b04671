"""Names for threads, items and attachments: nobody can guess one, and a later one sorts after an earlier one.

ChatKit's own have 32 random bits: one chance in a hundred of a collision at 9,300 items.
"""

import secrets
import time

from chatkit.store import StoreItemType

PREFIXES: dict[StoreItemType, str] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
}
# Characters. Ours have 49; a model's or a client's own may be longer, but not a page.
MAX_ID = 128


def new_id(kind: StoreItemType) -> str:
    """For example ``thr_019aabcdef01…``: 48 bits of milliseconds, 128 random bits, in hex."""
    return f"{PREFIXES[kind]}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}"


def is_id(value: str) -> bool:
    """Could it be an id at all? PostgreSQL refuses a NUL in a text, and no index needs a long key."""
    return 0 < len(value) <= MAX_ID and value.isascii() and value.isprintable()
