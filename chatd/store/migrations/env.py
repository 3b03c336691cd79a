"""Alembic's entry. The connection, and the transaction around all steps, come from `chatd.store.migrations`."""

from alembic import context

from chatd.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
