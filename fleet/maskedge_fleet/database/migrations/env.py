"""Environment of Alembic: runs the migrations on the engine that `migrate` passes."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine, text

from maskedge_fleet.database.tables import Base

engine: Engine = context.config.attributes["engine"]
is_sqlite = engine.dialect.name == "sqlite"
with engine.connect() as connection:
    # Two programs that start at the same time migrate one after the other.
    if is_sqlite:
        # The driver begins no transaction for a change of the tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(7305)"))
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=is_sqlite, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
