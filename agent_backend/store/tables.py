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
    DateTime,
    Dialect,
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
