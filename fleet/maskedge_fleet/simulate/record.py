"""The record of a simulation: the numbers of all messages that the devices have handed to their outputs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from maskedge.errors import OutputError
from maskedge.sinks.mqtt.spool import NAME

from .plan import Plan
from .processes import Totals


def make_record(plan: Plan, totals: Totals) -> dict[str, Any]:
    """Return the record, in JSON types.

    The messages of a device have the ids `SPOOL-1` to `SPOOL-LAST`. The numbers are read from the
    files of the spools, which never use a number twice. `unconfirmed` has the numbers of messages
    that are still in the spool.

    Args:
        plan: The simulation, which has ended.
        totals: Its sums.

    Raises:
        OutputError: A spool cannot be read.
    """
    return {
        "schema": "maskedge.simulation/1",
        "devices": {name: _read(plan.folder / name / NAME) for name in map(plan.name_of, range(plan.devices))},
        "events": dict(totals.events),
        "people": dict(totals.people),
        "refused": totals.refused,
        "waiting": totals.waiting,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            (identity,) = base.execute("SELECT identity FROM spool").fetchone()
            last = base.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
            left = [number for (number,) in base.execute("SELECT number FROM messages ORDER BY number")]
    except sqlite3.Error as error:
        raise OutputError(f"the spool {path} cannot be read ({error}): check the folder.") from error
    return {"spool": identity, "last": last[0] if last else 0, "unconfirmed": left}
