"""One file a revision, which only Alembic loads."""
