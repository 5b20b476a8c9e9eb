"""Results on disk: the only part that knows SQLAlchemy."""
