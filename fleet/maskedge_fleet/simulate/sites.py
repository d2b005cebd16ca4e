"""Assignment of simulated devices to their sites."""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from maskedge_fleet.database.tables import Device, Site

from .plan import Plan

_log = logging.getLogger(__name__)
_EVERY = 2.0
_LONGEST = 300.0


class SiteAssignment:
    """Assigns each device to its site when it has appeared in the database, on a thread.

    Args:
        plan: The simulation.
        engine: The database of the fleet.
        started: Set when the devices have been opened.
    """

    def __init__(self, plan: Plan, engine: Engine, started: threading.Event) -> None:
        self._plan = plan
        self._engine = engine
        self._started = started
        self._thread = threading.Thread(target=self._run, name="sites", daemon=True)

    def start(self) -> None:
        """Start the thread. It ends when every device has its site."""
        self._thread.start()

    def _run(self) -> None:
        self._started.wait()
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            try:
                if assign_sites(self._engine, self._plan) == 0:
                    return
            except SQLAlchemyError as error:
                _log.warning("the sites of the simulated devices cannot be stored (%s); trying again.", type(error).__name__)
            time.sleep(_EVERY)


def assign_sites(engine: Engine, plan: Plan) -> int:
    """Assign the devices that are in the database, and create missing sites.

    Args:
        engine: The database of the fleet.
        plan: The simulation.

    Returns:
        The number of devices that still have no site.
    """
    with engine.begin() as connection:
        sites = {name: number for number, name in connection.execute(select(Site.id, Site.name))}
        for index in range(min(plan.sites, plan.devices)):
            if (name := plan.site_of(index)) not in sites:
                (sites[name],) = connection.execute(insert(Site).values(name=name).returning(Site.id)).one()
        without = set(connection.scalars(select(Device.name).where(Device.site_id.is_(None))))
        known = set(connection.scalars(select(Device.name)))
        missing = 0
        for index in range(plan.devices):
            name = plan.name_of(index)
            if name in without:
                connection.execute(update(Device).where(Device.name == name).values(site_id=sites[plan.site_of(index)]))
            missing += name not in known
    return missing
