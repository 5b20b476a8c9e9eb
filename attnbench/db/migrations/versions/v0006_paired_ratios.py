"""The view `results` pairs the rounds of two cases; views are made anew after revisions."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Change no table."""
