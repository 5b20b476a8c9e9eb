"""The card of each outcome, where a run has several."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a column, empty for outcomes of the run's own machine, and an index of the others."""
    op.add_column("measurement", sa.Column("machine_id", sa.Integer(), nullable=True))
    filled = sa.text("machine_id IS NOT NULL")
    op.create_index(
        "ix_measurement_card",
        "measurement",
        ["run", "machine_id"],
        sqlite_where=filled,
        postgresql_where=filled,
    )
