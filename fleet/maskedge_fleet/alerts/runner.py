"""The part of the server that evaluates alert rules and sends notifications."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from maskedge.errors import OutputError
from maskedge_fleet.database.migrate import unreachable
from maskedge_fleet.settings import Settings

from .engine import AlertEngine
from .notifications import open_services, remove_unknown, send_until
from .rules import DEFAULT_RULES

_log = logging.getLogger("maskedge.fleet")
_LONGEST_WAIT_S = 60.0


def run_alerts(engine: Engine, settings: Settings, stop: threading.Event) -> None:
    """Evaluate the rules and send notifications until `stop` is set.

    A database that is away is tried again, without end. Each receiver has its own thread.

    Args:
        engine: The database.
        settings: The settings of the server.
        stop: Ends the work.

    Raises:
        UsageError: An address of `[notify]` is not valid.
    """
    services = open_services(settings.notifications)
    alerts = AlertEngine(
        engine, settings.rules or DEFAULT_RULES, [service.id for service in services], ended=settings.notifications.ended
    )
    threads = [
        threading.Thread(
            target=send_until, args=(stop, engine, service, settings.server.public_url), name="notifications", daemon=True
        )
        for service in services
    ]
    for thread in threads:
        thread.start()
    problem, wait, is_clean = "", settings.alerts.every_s, False
    while not stop.wait(wait):
        try:
            if not is_clean:
                remove_unknown(engine, services)
                is_clean = True
            alerts.run_round()
        except (SQLAlchemyError, OutputError) as error:
            text = str(error if isinstance(error, OutputError) else unreachable(engine, error))
            if text != problem:
                _log.warning("%s Alerts wait.", text)
            problem, wait = text, min(max(1.0, 2 * wait), _LONGEST_WAIT_S)
        else:
            problem, wait = "", settings.alerts.every_s
    for thread in threads:
        thread.join(1.0)
