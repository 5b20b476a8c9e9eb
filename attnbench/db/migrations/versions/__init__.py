"""One file per revision, loaded only by Alembic."""
