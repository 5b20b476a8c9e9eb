"""What Alembic runs to migrate; the connection and its transaction are the caller's."""

from alembic import context

from attnbench.db.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE.name
)
context.run_migrations()
