"""The parts of the server that run beside the page in one process."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Collection
from importlib import import_module

from sqlalchemy import Engine

from maskedge.errors import MaskedgeError
from maskedge_fleet.ingest.runner import ingest_settings, run_ingest
from maskedge_fleet.settings import Settings

_log = logging.getLogger("maskedge.fleet")
ENGINES = {
    "upkeep": "maskedge_fleet.upkeep.runner:run_upkeep",
    "alerts": "maskedge_fleet.alerts.runner:run_alerts",
    "rollouts": "maskedge_fleet.rollouts.runner:run_rollouts",
}
"""Functions with the arguments engine, settings and stop, by the name of the part."""
ALL = ("ingest", *ENGINES)
"""Names of all parts."""
_JOIN_S = 10.0


class Parts:
    """Threads that end together: if one fails, all stop.

    Args:
        engine: The database.
        settings: The settings of the server.
        stop: Ends all parts.
        names: Names of the wanted parts.

    Attributes:
        failure: Error of the part that failed; None while all are well.
    """

    def __init__(self, engine: Engine, settings: Settings, stop: threading.Event, names: Collection[str] = ALL) -> None:
        self._stop = stop
        self.failure: Exception | None = None
        works: dict[str, Callable[[], None]] = {"ingest": lambda: run_ingest(ingest_settings(settings), stop)}
        for name, place in ENGINES.items():
            module, _, function = place.partition(":")
            work = getattr(import_module(module), function)
            works[name] = lambda work=work: work(engine, settings, stop)  # type: ignore[misc]
        self._threads = [
            threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
            for name, work in works.items()
            if name in names
        ]

    def start(self) -> None:
        """Start all parts."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the end of all parts, which have been stopped."""
        for thread in self._threads:
            thread.join(_JOIN_S)

    def check(self) -> None:
        """End the process with an error if a part has failed.

        Raises:
            MaskedgeError: The error of the part, if a user can cause it.
            SystemExit: Another error, which is in the log.
        """
        if isinstance(self.failure, MaskedgeError):
            raise self.failure
        if self.failure is not None:
            sys.exit(1)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except MaskedgeError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  (the process ends, and its supervisor starts it again)
            _log.exception("the part %s has failed", name)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._stop.set()
