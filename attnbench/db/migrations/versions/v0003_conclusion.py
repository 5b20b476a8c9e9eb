"""The conclusions of studies."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "conclusion",
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_conclusion"),
        sa.ForeignKeyConstraint(
            ["run"], ["run.number"], name="fk_conclusion_run", ondelete="CASCADE"
        ),
    )
