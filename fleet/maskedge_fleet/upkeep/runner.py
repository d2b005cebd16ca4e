"""The upkeep: sums counts every few seconds, and removes old rows every hour."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from maskedge_fleet.database.migrate import unreachable
from maskedge_fleet.settings import Settings

from .retention import minutes_since, remove_old_rows
from .rollup import HOURS_AT_ONCE, roll_up

_log = logging.getLogger("maskedge.fleet.upkeep")

_RETENTION_EVERY_S = 3600.0
_LOGGED_AFTER_S = 60.0


def run_upkeep(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Sum counts and remove old rows until `stop` is set. Several processes may do so at the same time.

    While the database is away, it waits.

    Args:
        engine: The database, of the newest revision.
        settings: The settings of the server, with the section `[retention]`.
        stop: Ends the upkeep.
    """
    kept = settings.retention
    away_since: float | None = None
    is_logged = False
    next_removal = time.monotonic()
    while not stop.is_set():
        try:
            now = datetime.now(timezone.utc)
            while not stop.is_set() and roll_up(engine, minutes_since(kept, now)) == HOURS_AT_ONCE:
                pass
            if time.monotonic() >= next_removal:
                remove_old_rows(engine, kept, now, stop)
                next_removal = time.monotonic() + _RETENTION_EVERY_S
        except SQLAlchemyError as error:
            # The ingest logs a database that is away. It is logged here if it stays away.
            away_since = time.monotonic() if away_since is None else away_since
            if not is_logged and time.monotonic() - away_since > _LOGGED_AFTER_S:
                is_logged = True
                _log.warning("counts are not summed, and old rows are not removed: %s", unreachable(engine, error))
        else:
            if is_logged:
                _log.info("counts are summed again.")
            away_since, is_logged = None, False
        stop.wait(kept.every_s)
