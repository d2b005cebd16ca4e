"""Environment of Alembic: runs the migrations on the engine that `migrate` passes."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine, text

from maskedge_fleet.database.tables import Base

engine: Engine = context.config.attributes["engine"]
with engine.connect() as connection:
    if engine.dialect.name == "postgresql":
        # Two programs that start at the same time migrate one after the other.
        connection.execute(text("SELECT pg_advisory_xact_lock(7305)"))
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=engine.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
