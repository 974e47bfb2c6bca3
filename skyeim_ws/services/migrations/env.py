"""What Alembic runs for each command: the revisions, on the connection that it was given."""

from alembic import context
from sqlalchemy import Connection

from skyeim_ws.services.migrations import VERSION_TABLE

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
