"""The script that Alembic runs to migrate, on the caller's connection and transaction."""

from alembic import context

from attnbench.db.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE.name
)
context.run_migrations()
