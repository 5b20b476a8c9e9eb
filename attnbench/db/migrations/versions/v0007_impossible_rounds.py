"""Rounds of an impossible time say so in the views, which are made anew after revisions."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Change no table."""
