"""The views say what `report` says where rounds are missing; they are made anew after revisions."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Change no table."""
