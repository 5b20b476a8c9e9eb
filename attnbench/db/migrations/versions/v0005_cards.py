"""The card of each outcome, where a run has several."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a column, empty for outcomes of the run's own machine."""
    op.add_column("measurement", sa.Column("machine_id", sa.Integer(), nullable=True))
