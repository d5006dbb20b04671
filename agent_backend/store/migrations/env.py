"""Alembic asks this file how to run. The connection is always ours: see `agent_backend.store.schema`."""

from alembic import context

from agent_backend.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
with context.begin_transaction():
    context.run_migrations()
