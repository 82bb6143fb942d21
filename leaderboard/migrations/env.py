"""Environment: how alembic runs the steps, inside the transaction that the caller opened."""

from __future__ import annotations

from alembic import context

from leaderboard.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction holds every step
)
context.run_migrations()
