"""What answers cost, by thread and day."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("thread_id", sa.String(128), primary_key=True),
        *[sa.Column(name, sa.String(512), nullable=False) for name in ("issuer", "subject", "tenant")],
        *[
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("answers", "partial", "requests", "tokens_in", "tokens_out")
        ],
    )


def downgrade() -> None:
    op.drop_table("usage")
