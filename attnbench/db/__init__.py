"""Results on disk: the only package that uses SQLAlchemy."""
