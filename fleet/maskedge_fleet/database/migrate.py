"""Migrations of the database (Alembic)."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from maskedge.errors import OutputError, UsageError
from maskedge.settings import shown

from .engine import shown_url
from .rounds import is_conflict


class DatabaseUnreachableError(OutputError):
    """The database cannot be used now."""


def _config(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("maskedge_fleet.database") / "migrations"))
    config.attributes["engine"] = engine
    return config


def newest_revision() -> str:
    """Return the revision of the database that this version of the program uses."""
    head = ScriptDirectory(str(files("maskedge_fleet.database") / "migrations")).get_current_head()
    assert head is not None  # noqa: S101  (the package has a migration)
    return head


def current_revision(engine: Engine) -> str | None:
    """Return the revision of a database; None for an empty one.

    Raises:
        OutputError: The database cannot be reached.
    """
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from error


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring a database to a revision. An interrupted migration changes nothing.

    Args:
        engine: The database.
        revision: Revision of Alembic; `head` for the newest, `base` for an empty database.

    Raises:
        UsageError: There is no such revision.
        OutputError: The database cannot be reached, or was made by a newer version of the program.
    """
    check_known(engine)
    config = _config(engine)
    try:
        if not revision:
            raise CommandError("")
        if revision in ("head", newest_revision()) or current_revision(engine) is None:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)
    except CommandError as error:
        raise UsageError(
            f"the tables cannot be changed to the revision {shown(revision)}: "
            f"use head, base, or a number up to {newest_revision()} (--revision)."
        ) from error
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from error


def check_known(engine: Engine) -> None:
    """Refuse a database of a newer version of the program.

    Raises:
        OutputError: The database is of a newer version, or cannot be reached.
    """
    current = current_revision(engine)
    known = {script.revision for script in ScriptDirectory.from_config(_config(engine)).walk_revisions()}
    if current is not None and current not in known:
        raise OutputError(f"the database was made by a newer version of edge-fleet (revision {current}): update edge-fleet.")


def check_current(engine: Engine) -> None:
    """Refuse a database of another version of the program.

    Raises:
        OutputError: The database has another revision, or cannot be reached.
    """
    check_known(engine)
    if current_revision(engine) != newest_revision():
        raise OutputError("the database is empty or of an older version: run edge-fleet migrate.")


def unreachable(engine: Engine, error: Exception) -> DatabaseUnreachableError:
    """Return the error for a database that cannot be used. It contains no password."""
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if is_conflict(error):
        return DatabaseUnreachableError(
            f"another program has changed or deleted the same rows in this moment ({reason:.200}): try again."
        )
    return DatabaseUnreachableError(f"the database {shown_url(engine)} cannot be used ({reason:.200}): check --database.")
