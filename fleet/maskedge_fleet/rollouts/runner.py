"""The part of the server that sends commands and advances roll-outs."""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from maskedge.errors import OutputError
from maskedge_fleet.commands.outbox import expire, send_waiting
from maskedge_fleet.commands.publisher import CommandPublisher
from maskedge_fleet.commands.signing import open_signer
from maskedge_fleet.database.migrate import unreachable
from maskedge_fleet.database.rounds import only_one
from maskedge_fleet.ingest.runner import broker_settings
from maskedge_fleet.settings import Settings

from .engine import RolloutEngine

_log = logging.getLogger("maskedge.fleet")
SEND_S = 0.3
"""Seconds between two looks for waiting commands."""
ROUND_S = 2.0
"""Seconds between two rounds of the roll-outs."""
_LONGEST_WAIT = 30.0


def run_rollouts(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Send commands and advance roll-outs until `stop` is set.

    A database or a broker that is away is tried again, without end. Without a key
    (`server.command_key`), nothing is done.

    Args:
        engine: The database.
        settings: The settings of the server.
        stop: Ends the work.

    Raises:
        UsageError: The key, the broker's address or a certificate file is not valid.
    """
    if settings.server.command_key is None:
        _log.info("there is no command key ([server] command_key): commands and roll-outs are off.")
        stop.wait()
        return
    rollouts = RolloutEngine(engine, open_signer(settings.server.command_key), settings.server.public_url)
    publisher = CommandPublisher(broker_settings(settings.broker))
    problem = ""
    wait, due = SEND_S, 0.0
    try:
        while not stop.wait(wait):
            try:
                if publisher.is_connected:
                    _send(engine, publisher)
                if time.monotonic() >= due:
                    expire(engine)
                    rollouts.run_round()
                    due = time.monotonic() + ROUND_S
            except (SQLAlchemyError, OutputError) as error:
                text = str(error if isinstance(error, OutputError) else unreachable(engine, error))
                if text != problem:
                    _log.warning("%s Commands and roll-outs wait.", text)
                problem, wait = text, min(max(1.0, 2 * wait), _LONGEST_WAIT)
            else:
                if problem:
                    _log.info("the database is back: commands and roll-outs continue.")
                problem, wait = "", SEND_S
    finally:
        publisher.close()


def _send(engine: Engine, publisher: CommandPublisher) -> None:
    """Send all waiting commands. In SQLite, only one process at a time does so."""
    if engine.dialect.name == "postgresql":
        while send_waiting(engine, publisher.publish):
            pass
        return
    with only_one(engine, "outbox") as held:
        while held and send_waiting(engine, publisher.publish):
            pass
