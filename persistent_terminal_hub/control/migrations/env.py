"""Alembic's entry: runs the migrations on the connection that `database.Database.migrate` hands over.

To write one: `persistent_terminal_hub/control/migrations/versions/NNNN_what.py`, by hand, for both databases.
"""

from alembic import context

from persistent_terminal_hub.control.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
)
context.run_migrations()
