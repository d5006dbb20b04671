"""Threads, items, attachments, feedback; used assertions.

The types are spelled out here and not taken from `tables`: a migration says what was true when it was written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def owner() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(512), nullable=False) for name in ("issuer", "subject", "tenant")]


def upgrade() -> None:
    op.create_table(
        "threads",
        sa.Column("sequence", SEQUENCE, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False),
        *owner(),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.UniqueConstraint("id", name="uq_threads_id"),
    )
    op.create_index("ix_threads_issuer_subject_tenant_sequence", "threads", ["issuer", "subject", "tenant", "sequence"])
    op.create_table(
        "items",
        sa.Column("sequence", SEQUENCE, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column(
            "thread_id",
            sa.String(128),
            sa.ForeignKey("threads.id", ondelete="CASCADE", name="fk_items_thread_id"),
            nullable=False,
        ),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.UniqueConstraint("thread_id", "id", name="uq_items_thread_id_id"),
    )
    op.create_index("ix_items_thread_id_sequence", "items", ["thread_id", "sequence"])
    op.create_table(
        "attachments",
        sa.Column("sequence", SEQUENCE, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False),
        *owner(),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.UniqueConstraint("id", name="uq_attachments_id"),
    )
    op.create_table(
        "feedback",
        sa.Column("thread_id", sa.String(128), primary_key=True),
        sa.Column("item_id", sa.String(128), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_id", "item_id"],
            ["items.thread_id", "items.id"],
            ondelete="CASCADE",
            name="fk_feedback_thread_id_item_id",
        ),
    )
    op.create_table(
        "assertions",
        sa.Column("jti", sa.String(512), primary_key=True),
        sa.Column("ends_at", MOMENT, nullable=False),
    )
    op.create_index("ix_assertions_ends_at", "assertions", ["ends_at"])


def downgrade() -> None:
    for table in ("assertions", "feedback", "attachments", "items", "threads"):
        op.drop_table(table)
