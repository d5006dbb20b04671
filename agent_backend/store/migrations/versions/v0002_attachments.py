"""Attachments: how far each one is, how large, in which thread; and what is asked of them.

The thread's end sets `thread_id` to NULL and does not take the row along: whoever takes the row must first take the
bytes, which the database knows nothing of.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("attachments") as batch:
        batch.add_column(sa.Column("state", sa.String(16), nullable=False, server_default="stored"))
        batch.add_column(sa.Column("size", sa.BigInteger(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("thread_id", sa.String(128), nullable=True))
        batch.create_foreign_key("fk_attachments_thread_id", "threads", ["thread_id"], ["id"], ondelete="SET NULL")
    # What was sent is in its thread, or it would look like what nobody ever sent, and be swept away.
    attachments = sa.table("attachments", sa.column("thread_id", sa.String), sa.column("data", sa.JSON))
    threads = sa.table("threads", sa.column("id", sa.String))
    sent_in = sa.select(threads.c.id).where(threads.c.id == attachments.c.data["thread_id"].as_string())
    op.execute(sa.update(attachments).values(thread_id=sent_in.scalar_subquery()))
    op.create_index("ix_attachments_issuer_subject_tenant", "attachments", ["issuer", "subject", "tenant"])
    op.create_index("ix_attachments_thread_id", "attachments", ["thread_id"])
    op.create_index("ix_attachments_state_created_at", "attachments", ["state", "created_at"])


def downgrade() -> None:
    for columns in ("state_created_at", "thread_id", "issuer_subject_tenant"):
        op.drop_index(f"ix_attachments_{columns}", "attachments")
    with op.batch_alter_table("attachments") as batch:
        batch.drop_constraint("fk_attachments_thread_id", type_="foreignkey")
        for column in ("thread_id", "size", "state"):
            batch.drop_column(column)
