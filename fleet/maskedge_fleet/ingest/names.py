"""Numbers of devices, cameras and series. Unknown ones are created once, also by several processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from maskedge_fleet.database.tables import Base, Camera, Device, Series

from .topics import Place

SeriesKey = tuple[int, str, str, str]
"""Number of the camera, zone, line and direction."""
_AT_ONCE = 500
_MOST_SERIES = 200_000


def insert_new(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose keys do not exist yet."""
    if rows:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))


class Names:
    """Numbers of devices, cameras and series by their names.

    `clear` must be called after a transaction that failed, because its numbers do not exist.
    """

    def __init__(self) -> None:
        self._devices: dict[str, tuple[int, datetime]] = {}  # the number, and when the row was created
        self._cameras: dict[tuple[str, str], int] = {}
        self._series: dict[SeriesKey, int] = {}

    def clear(self) -> None:
        """Forget all numbers."""
        self._devices.clear()
        self._cameras.clear()
        self._series.clear()

    def device(self, place: Place) -> int:
        """Return the number of a device that was found or created."""
        return self._devices[place.device][0]

    def camera(self, place: Place) -> int:
        """Return the number of a camera that was found or created."""
        return self._cameras[place.device, place.camera]

    def forget_removed(self, connection: Connection, places: Iterable[Place]) -> bool:
        """Forget all numbers if one of these devices was removed since. Return True in that case.

        SQLite gives the number of a removed device to the next one, so the name is compared too.
        """
        known = {place.device: self._devices[place.device] for place in places if place.device in self._devices}
        for names in _slices(sorted(known)):
            numbers = [known[name][0] for name in names]
            rows = connection.execute(select(Device.name, Device.id, Device.created).where(Device.id.in_(numbers)))
            if len({row.name for row in rows if known.get(row.name) == (row.id, row.created)}) < len(names):
                self.clear()
                return True
        return False

    def add_devices(self, connection: Connection, places: Iterable[Place], now: datetime) -> set[str]:
        """Find or create the devices. Return the names of those that are new."""
        new: set[str] = set()
        wanted = {place.device: place for place in places if place.device not in self._devices}
        # All processes create rows in the same order, so that none waits for another one in a circle.
        for names in _slices(sorted(wanted)):
            known = self._find_devices(connection, names)
            insert_new(
                connection,
                Device,
                [{"name": name, "prefix": wanted[name].device_prefix, "created": now} for name in names if name not in known],
            )
            if len(known) < len(names):
                self._find_devices(connection, names)
                new.update(set(names) - known)
        return new

    def _find_devices(self, connection: Connection, names: Sequence[str]) -> set[str]:
        found = connection.execute(select(Device.name, Device.id, Device.created).where(Device.name.in_(names))).all()
        self._devices.update((row.name, (row.id, row.created)) for row in found)
        return {row.name for row in found}

    def add_cameras(self, connection: Connection, places: Iterable[Place]) -> None:
        """Find or create the cameras of devices that were found or created."""
        wanted = {(place.device, place.camera): place for place in places if (place.device, place.camera) not in self._cameras}
        for keys in _slices(sorted(wanted)):
            known = self.find_cameras(connection, [wanted[key] for key in keys])
            rows = [
                {"device_id": self._devices[key[0]][0], "name": key[1], "prefix": wanted[key].prefix}
                for key in keys
                if key not in known
            ]
            insert_new(connection, Camera, rows)
            if rows:
                self.find_cameras(connection, [wanted[key] for key in keys])

    def find_cameras(self, connection: Connection, places: Sequence[Place]) -> set[tuple[str, str]]:
        """Find cameras of devices that were found or created. Return device and name of all cameras of these devices."""
        devices = {self.device(place): place.device for place in places}
        rows = connection.execute(select(Camera.device_id, Camera.name, Camera.id).where(Camera.device_id.in_(devices))).all()
        found = {(devices[row.device_id], row.name): row.id for row in rows}
        self._cameras.update(found)
        return found.keys()  # type: ignore[return-value]

    def add_series(self, connection: Connection, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
        """Find or create series, and return their numbers."""
        keys = set(keys)
        if len(self._series) + len(keys) > _MOST_SERIES:
            self._series.clear()
        for wanted in _slices(sorted(keys - self._series.keys())):
            self._find_series(connection, wanted)
            new = [key for key in wanted if key not in self._series]
            if new:
                columns = ("camera_id", "zone", "line", "direction")
                insert_new(connection, Series, [dict(zip(columns, key, strict=True)) for key in new])
                self._find_series(connection, wanted)
        return {key: self._series[key] for key in keys}

    def _find_series(self, connection: Connection, keys: Sequence[SeriesKey]) -> None:
        rows = connection.execute(
            select(Series)
            .where(Series.camera_id.in_({key[0] for key in keys}))
            .with_only_columns(Series.id, Series.camera_id, Series.zone, Series.line, Series.direction)
        )
        self._series.update(((row.camera_id, row.zone, row.line, row.direction), row.id) for row in rows)


def _slices(values: list[Any]) -> Iterable[list[Any]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
