"""Turns: which thread is being answered in, until when."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column(
            "thread_id",
            sa.String(128),
            sa.ForeignKey("threads.id", ondelete="CASCADE", name="fk_turns_thread_id"),
            primary_key=True,
        ),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("turns")
