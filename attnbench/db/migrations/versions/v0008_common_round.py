"""A single round may be the best of the views; they are made anew after revisions."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Change no table."""
