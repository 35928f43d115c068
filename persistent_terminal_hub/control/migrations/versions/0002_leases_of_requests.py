"""Requests with an Idempotency-Key are leased, and note what they made"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("idempotent_requests", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lease_until", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("noted", sa.JSON(), nullable=True))
