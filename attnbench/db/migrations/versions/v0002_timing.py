"""Facts of GPU, kernels and host during a measurement; sentinels; noise."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add six columns to `measurement`, empty in its rows, and two tables."""
    for column in (
        sa.Column("footprint_ratio", sa.Double(), nullable=True),
        sa.Column("guard", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("kernels", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("kernel_seconds", sa.Double(), nullable=True),
        sa.Column("enqueue_seconds", sa.Double(), nullable=True),
        sa.Column("plan_seconds", sa.Double(), nullable=True),
    ):
        op.add_column("measurement", column)
    op.create_table(
        "sentinel",
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("moment", sa.String(length=8), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run", "moment", name="pk_sentinel"),
        sa.ForeignKeyConstraint(
            ["run"], ["run.number"], name="fk_sentinel_run", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "noise",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=32), nullable=False),
        sa.Column("machine_key", sa.String(length=64), nullable=False),
        sa.Column("machine_model", sa.String(length=64), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("floor", sa.Double(), nullable=False),
        sa.Column("session_sd", sa.Double(), nullable=True),
        sa.Column("num_cells", sa.Integer(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_noise"),
        sa.UniqueConstraint("uuid", name="uq_noise_uuid"),
    )
