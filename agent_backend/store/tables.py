"""The tables. A change here is a migration there: `migrations/versions`; a test compares the two.

Rules: ChatKit's own objects are kept whole, as JSON, because their shape is ChatKit's; columns are only what is asked
for in a query. `sequence` gives every row one place in one order, so that no two share a cursor. JSON, not JSONB:
PostgreSQL's JSONB refuses a NUL character that JSON and people's clipboards allow.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)

from agent_backend.assertion import MAX_CLAIM
from agent_backend.store.ids import MAX_ID

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime. SQLite keeps no offset, so UTC is written and UTC is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def sequence() -> Column[int]:
    """Insertion order. SQLite numbers rows by itself only when the key is a plain INTEGER."""
    return Column(
        "sequence",
        BigInteger().with_variant(Integer, "sqlite"),
        Identity(),
        primary_key=True,
    )


def owner() -> tuple[Column[str], Column[str], Column[str]]:
    return (
        Column("issuer", String(MAX_CLAIM), nullable=False),
        Column("subject", String(MAX_CLAIM), nullable=False),
        Column("tenant", String(MAX_CLAIM), nullable=False),
    )


threads = Table(
    "threads",
    metadata,
    sequence(),
    Column("id", String(MAX_ID), nullable=False, unique=True),
    *owner(),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("data", JSON(), nullable=False),
    Index(None, "issuer", "subject", "tenant", "sequence"),
)

items = Table(
    "items",
    metadata,
    sequence(),
    Column("id", String(MAX_ID), nullable=False),
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("data", JSON(), nullable=False),
    # Per thread, so that an id somebody else already has is no conflict and no way to their item.
    UniqueConstraint("thread_id", "id"),
    Index(None, "thread_id", "sequence"),
)

attachments = Table(
    "attachments",
    metadata,
    sequence(),
    Column("id", String(MAX_ID), nullable=False, unique=True),
    *owner(),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("data", JSON(), nullable=False),
    # pending (bytes awaited), stored, or deleted (bytes being deleted); bytes; and NULL until it is sent.
    Column("state", String(16), nullable=False, server_default="stored"),
    Column("size", BigInteger(), nullable=False, server_default="0"),
    # Not CASCADE: whoever takes the row must first take the bytes, which the database knows nothing of.
    Column("thread_id", ForeignKey("threads.id", ondelete="SET NULL")),
    Index(None, "issuer", "subject", "tenant"),
    Index(None, "thread_id"),
    Index(None, "state", "created_at"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("thread_id", String(MAX_ID), primary_key=True),
    Column("item_id", String(MAX_ID), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    ForeignKeyConstraint(["thread_id", "item_id"], ["items.thread_id", "items.id"], ondelete="CASCADE"),
)

# Which assertions were used, by any replica; see `replays`.
assertions = Table(
    "assertions",
    metadata,
    Column("jti", String(MAX_CLAIM), primary_key=True),
    Column("ends_at", UtcDateTime(), nullable=False),
    Index(None, "ends_at"),
)

# Which thread is being answered in, for which turn, until when; see `leases`.
turns = Table(
    "turns",
    metadata,
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), primary_key=True),
    Column("holder", String(32), nullable=False),
    # Seconds since 1970 by the database's clock: replicas' own may differ.
    Column("ends_at", Double(), nullable=False),
)

# What the answers in a thread cost, by UTC day: see `usage`. Not tied to the thread, because deleting a conversation
# does not undo its bill; an owner's data goes with `forget`.
usage = Table(
    "usage",
    metadata,
    Column("day", Date(), primary_key=True),
    Column("thread_id", String(MAX_ID), primary_key=True),
    *owner(),
    Column("answers", BigInteger(), nullable=False),
    # Of them, those whose cost is known in part only.
    Column("partial", BigInteger(), nullable=False),
    Column("requests", BigInteger(), nullable=False),
    Column("tokens_in", BigInteger(), nullable=False),
    Column("tokens_out", BigInteger(), nullable=False),
)
