"""Writes a batch of messages in one transaction."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, exists, update
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError, NotSupportedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from maskedge_fleet.database.engine import begin_write
from maskedge_fleet.database.rounds import is_conflict
from maskedge_fleet.database.tables import COUNT_COLUMNS, Camera, Device

from .bulk import Bulk, insert
from .messages import Parsed, Refused, optional_time, to_json_text
from .names import Names
from .reports import RejectLimit, end_forgotten_alerts, write_alerts, write_answers, write_rejects, write_snapshots
from .topics import ANSWER, AVAILABILITY, EVENTS, SNAPSHOT, STATE, STATISTICS

_log = logging.getLogger("maskedge.fleet.ingest")

SEEN_EVERY = timedelta(seconds=5)
"""How exactly the time of the last message is stored."""
_ATTEMPTS = 4
_TOO_LARGE = "54"
"""First digits of PostgreSQL's codes for a value that is too large or too complex."""
_POISON = (SQLAlchemyError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
_COUNT_TYPES = {name: "float8" if name.endswith("_s") else "integer" for name in COUNT_COLUMNS}
_IN_EVENT = ("id", "event", "time", "protocol")
_IN_STATISTICS = ("id", "time", "minutes", "protocol")

_EVENTS = insert(
    "event",
    {
        "time": "timestamptz",
        "camera_id": "integer",
        "message_id": "text",
        "kind": "text",
        "details": "jsonb",
        "received": "timestamptz",
    },
)
_STATISTICS = insert(
    "statistics",
    {"time": "timestamptz", "camera_id": "integer", "message_id": "text", "content": "jsonb", "received": "timestamptz"},
    returning="camera_id, message_id",
)
_MINUTES = insert(
    "minute_counts",
    {"start": "timestamptz", "series_id": "integer", **_COUNT_TYPES},
    "ON CONFLICT (start, series_id) DO UPDATE SET "
    + ", ".join(f'"{name}" = minute_counts."{name}" + excluded."{name}"' for name in COUNT_COLUMNS),
)
_STALE_HOURS = insert(
    "stale_hour",
    {"series_id": "integer", "start": "timestamptz", "changed": "timestamptz"},
    "ON CONFLICT (series_id, start) DO UPDATE SET changed = excluded.changed",
)


def _change(table: str, columns: dict[str, str], setting: dict[str, str], guard: str = "") -> Bulk:
    """Return a statement that changes rows by their `id`. `{x}` is the new value of `x`, `t` the table."""
    names = ["id", *columns]

    def statement(value: str, source: str) -> str:
        values = {name: value.format(name) for name in names}
        changes = ", ".join(f"{name} = {expression.format(**values)}" for name, expression in setting.items())
        condition = f" AND ({guard.format(**values)})" if guard else ""
        return f"UPDATE {table} AS t SET {changes}{source} WHERE t.id = {values['id']}{condition}"  # noqa: S608  (names of this program)

    return Bulk({"id": "integer", **columns}, statement("r.{}", " FROM {rows}"), statement(":{}", ""))


_CAMERA_STATISTICS = _change(
    "camera",
    {"statistics": "jsonb", "time": "timestamptz", "now": "timestamptz"},
    {"statistics": "{statistics}", "statistics_time": "{time}"},
    # A time in the future was set by a clock that was wrong then.
    "t.statistics_time IS NULL OR t.statistics_time <= {time} OR t.statistics_time > {now}",
)
_CAMERA_SEEN = _change("camera", {"seen": "timestamptz"}, {"seen": "{seen}"}, "t.seen IS NULL OR t.seen < {seen}")
_CAMERA_STATE = _change(
    "camera",
    {"state": "text", "since": "timestamptz", "source": "text", "alerts": "jsonb"},
    {"state": "{state}", "since": "{since}", "source": "{source}", "alerts": "{alerts}"},
)
_CAMERA_ONLINE = _change("camera", {"online": "boolean"}, {"online": "{online}"})
_DEVICE_SEEN = _change(
    "device",
    {"seen": "timestamptz", "clock": "float8", "health": "jsonb"},
    {
        "seen": "CASE WHEN t.seen IS NULL OR t.seen < {seen} THEN {seen} ELSE t.seen END",
        "clock_offset_s": "coalesce({clock}, t.clock_offset_s)",
        "health": "coalesce({health}, t.health)",
    },
)
_DEVICE_STATE = _change(
    "device",
    {"version": "text", "instance": "text", "model": "jsonb", "detector": "jsonb", "commands": "jsonb"},
    {name: f"{{{name}}}" for name in ("version", "instance", "model", "detector", "commands")},
)
_DEVICE_DUPLICATE = _change("device", {"at": "timestamptz"}, {"duplicate_seen": "{at}"})


class DatabaseAwayError(Exception):
    """The database cannot be used now. The message is the reason, without a password."""


class Writer:
    """Writes batches of messages. A repeated message changes nothing.

    Args:
        engine: The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._names = Names()
        self._seen: dict[tuple[str, int], datetime] = {}
        self._limit = RejectLimit()
        self._without_state: set[str] = set()

    def take_without_state(self) -> set[str]:
        """Return, once, the devices that were created by a message other than what the broker retains of them.

        A device that was removed while it was connected does not send its availability again by itself.
        """
        found, self._without_state = self._without_state, set()
        return found

    def write(self, messages: Sequence[Parsed | Refused]) -> None:
        """Write messages. One that the database does not accept becomes a reject.

        Raises:
            DatabaseAwayError: The database cannot be used. Nothing was written, or a part that may
                be written again.
        """
        error = self._try(messages)
        if error is None:
            return
        if len(messages) > 1:
            middle = len(messages) // 2
            self.write(messages[:middle])
            self.write(messages[middle:])
        elif isinstance(messages[0], Parsed):
            message = messages[0]
            self.write([Refused(message.raw, f"the database does not accept it ({_reason(error)})", message.id, message.place)])
        else:
            _log.error("a reject of %s cannot be stored (%s).", messages[0].raw.topic, _reason(error))

    def _try(self, messages: Sequence[Parsed | Refused]) -> Exception | None:
        """Write messages. Return the error if the database does not accept one of them."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with begin_write(self._engine) as connection:
                    transaction = _Transaction(connection, self._names, self._seen, self._limit)
                    transaction.write(messages)
            except _POISON as error:
                self._names.clear()
                self._seen.clear()
                # A device was removed while its numbers were remembered, or a deadlock was broken.
                again = is_conflict(error)
                if again and attempt < _ATTEMPTS:
                    continue
                if _is_away(error):
                    raise DatabaseAwayError(_reason(error)) from error
                return error
            self._without_state |= transaction.without_state
            return None
        raise AssertionError


class _Transaction:
    """Writes the messages of one batch. All processes change the tables, and the rows of each, in the same order."""

    def __init__(self, connection: Connection, names: Names, seen: dict[tuple[str, int], datetime], limit: RejectLimit) -> None:
        self._connection = connection
        self._names = names
        self._seen = seen
        self._limit = limit
        self.without_state: set[str] = set()

    def write(self, messages: Sequence[Parsed | Refused]) -> None:
        """Write the messages. `without_state` are then the devices that were created without an availability."""
        of_kind: dict[str, list[Parsed]] = defaultdict(list)
        rejects = []
        for message in messages:
            if isinstance(message, Parsed):
                of_kind[message.kind].append(message)
            elif self._limit.accept(message):
                rejects.append(message)
        self._find_names(of_kind)
        events = self._write_events(of_kind[EVENTS])
        self._write_statistics(of_kind[STATISTICS])
        self._write_newest(of_kind)
        write_alerts(self._connection, events)
        active = {
            self._names.camera(message.place): [alert["rule"] for alert in message.content.get("alerts") or ()]
            for message in of_kind[STATE]
        }
        if active:
            end_forgotten_alerts(self._connection, active, of_kind[STATE][-1].raw.received)
        rejects += write_answers(self._connection, [(answer, self._names.device(answer.place)) for answer in of_kind[ANSWER]])
        rejects += self._write_snapshots(of_kind[SNAPSHOT])
        self._write_clocks(rejects)
        write_rejects(self._connection, rejects)

    def _write_clocks(self, rejects: Sequence[Refused]) -> None:
        """Write how wrong the clocks of devices are whose messages were refused."""
        behind = {
            message.place.device: message.raw.received.timestamp() - message.raw.sent
            for message in rejects
            if message.place is not None and message.raw.sent is not None
        }
        if behind:
            self._connection.execute(
                update(Device).where(Device.name == bindparam("device")).values(clock_offset_s=bindparam("seconds")),
                [{"device": name, "seconds": seconds} for name, seconds in sorted(behind.items())],
            )

    def _find_names(self, of_kind: dict[str, list[Parsed]]) -> None:
        every = [message for group in of_kind.values() for message in group]
        if every:
            places = [message.place for message in every]
            is_stale = self._names.forget_removed(self._connection, places)
            new = self._names.add_devices(self._connection, places, every[0].raw.received)
            if is_stale or new:
                self._seen.clear()  # a new device may have the number of a removed one
            # The broker sends what it retains of a device together.
            retained = [message for message in of_kind[STATE] if message.raw.retained]
            self.without_state = new - {message.place.device for message in (*of_kind[AVAILABILITY], *retained)}
            self._names.add_cameras(
                self._connection, (message.place for kind in (EVENTS, STATISTICS, STATE) for message in of_kind[kind])
            )

    def _lock(self, table: type[Camera | Device], numbers: set[int]) -> None:
        """Lock rows in the order of their numbers, so that two processes never wait for each other."""
        if self._connection.dialect.name == "postgresql" and numbers:
            name = table.__tablename__
            self._connection.exec_driver_sql(
                f"SELECT id FROM {name} WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",  # noqa: S608  (a name of a table)
                (list(numbers),),
            )

    def _write_events(self, events: Sequence[Parsed]) -> list[tuple[Parsed, int, int]]:
        placed = [(event, self._names.device(event.place), self._names.camera(event.place)) for event in events]
        _EVENTS.run(
            self._connection,
            sorted(
                (
                    event.time,
                    camera,
                    event.id,
                    event.content["event"],
                    to_json_text({key: value for key, value in event.content.items() if key not in _IN_EVENT}),
                    event.raw.received,
                )
                for event, _, camera in placed
            ),
        )
        return placed

    def _write_statistics(self, messages: Sequence[Parsed]) -> None:
        """Write statistics that have an `id`, and add the minutes of those that are new."""
        by_key = {(self._names.camera(message.place), message.id): message for message in messages if message.id}
        new = _STATISTICS.run_returning(
            self._connection,
            sorted((m.time, camera, number, _statistics_text(m), m.raw.received) for (camera, number), m in by_key.items()),
        )
        counted = [(camera, minute) for camera, number in new for minute in by_key[camera, number].minutes]
        if not counted:
            return
        series = self._names.add_series(self._connection, {(camera, m.zone, m.line, m.direction) for camera, m in counted})
        sums: dict[tuple[datetime, int], tuple[float, ...]] = {}
        for camera, minute in counted:
            key = minute.start, series[camera, minute.zone, minute.line, minute.direction]
            before = sums.get(key)
            sums[key] = minute.counts if before is None else tuple(map(sum, zip(before, minute.counts, strict=True)))
        _MINUTES.run(self._connection, [(*key, *counts) for key, counts in sorted(sums.items())])
        now = datetime.now(timezone.utc)
        hours = {(number, start.replace(minute=0)) for start, number in sums}
        _STALE_HOURS.run(self._connection, [(*hour, now) for hour in sorted(hours)])

    def _write_newest(self, of_kind: dict[str, list[Parsed]]) -> None:
        """Write the newest values of cameras and devices."""
        statistics: dict[int, Parsed] = {}
        for message in of_kind[STATISTICS]:
            camera = self._names.camera(message.place)
            if camera not in statistics or statistics[camera].time <= message.time:
                statistics[camera] = message
        states = {self._names.camera(message.place): message for message in of_kind[STATE]}
        online = self._find_availability(of_kind[AVAILABILITY])
        alive = [m for kind in (EVENTS, STATISTICS, STATE) for m in of_kind[kind] if not m.raw.retained]
        seen = self._newly_seen("camera", ((self._names.camera(m.place), m.raw.received) for m in alive))
        self._lock(Camera, {*statistics, *states, *online, *seen})
        _CAMERA_STATISTICS.run(
            self._connection,
            [(camera, _statistics_text(m), m.time, m.raw.received) for camera, m in sorted(statistics.items(), key=_number)],
        )
        _CAMERA_STATE.run(self._connection, [_camera_state(camera, m) for camera, m in sorted(states.items(), key=_number)])
        _CAMERA_SEEN.run(self._connection, sorted(seen.items()))
        _CAMERA_ONLINE.run(self._connection, sorted(online.items()))
        self._write_devices(of_kind, alive)

    def _write_devices(self, of_kind: dict[str, list[Parsed]], alive: Sequence[Parsed]) -> None:
        device_of = self._names.device
        seen = self._newly_seen("device", ((device_of(m.place), m.raw.received) for m in alive))
        health: dict[int, str] = {}
        for message in of_kind[STATISTICS]:
            if isinstance(values := message.content.get("health"), dict):
                health[device_of(message.place)] = to_json_text(values)
                seen.setdefault(device_of(message.place), message.raw.received)
        clocks: dict[int, float] = {}
        for message in alive:
            if message.raw.sent is not None:
                device, behind = device_of(message.place), message.raw.received.timestamp() - message.raw.sent
                # Of several messages, one waited least on the way.
                clocks[device] = min(clocks.get(device, behind), behind)
        states = {device_of(message.place): message for message in of_kind[STATE]}
        connected = {device_of(message.place) for message in of_kind[AVAILABILITY]}
        twice = {device_of(m.place): m.raw.received for m in of_kind[STATE] if m.is_duplicate}
        self._lock(Device, {*seen, *states, *connected, *twice})
        _DEVICE_SEEN.run(
            self._connection, [(device, moment, clocks.get(device), health.get(device)) for device, moment in sorted(seen.items())]
        )
        _DEVICE_STATE.run(self._connection, [_device_state(device, m) for device, m in sorted(states.items(), key=_number)])
        _DEVICE_DUPLICATE.run(self._connection, sorted(twice.items()))
        if connected:
            is_online = exists().where(Camera.device_id == Device.id, Camera.online)
            self._connection.execute(update(Device).where(Device.id.in_(connected)).values(online=is_online))

    def _newly_seen(self, table: str, moments: Iterable[tuple[int, datetime]]) -> dict[int, datetime]:
        """Return the rows whose time of the last message is out of date, and the new time."""
        new = {}
        for number, moment in moments:
            before = self._seen.get((table, number))
            if before is None or moment - before >= SEEN_EVERY:
                new[number] = self._seen[table, number] = moment
        return new

    def _find_availability(self, messages: Sequence[Parsed]) -> dict[int, bool]:
        """Return which cameras are connected. The camera of a device without named cameras is created."""
        if not messages:
            return {}
        known = self._names.find_cameras(self._connection, [message.place for message in messages])
        devices_with_cameras = {device for device, _ in known}
        newest = {(message.place.device, message.place.camera): message for message in messages}
        new = {
            key: message.place
            for key, message in newest.items()
            # A device with named cameras may have an availability of its own.
            if key not in known and (message.place.prefix != message.place.device_prefix or key[0] not in devices_with_cameras)
        }
        self._names.add_cameras(self._connection, new.values())
        return {
            self._names.camera(message.place): message.raw.payload == b"online"
            for key, message in newest.items()
            if key in known or key in new
        }

    def _write_snapshots(self, messages: Sequence[Parsed]) -> list[Refused]:
        if not messages:
            return []
        known = self._names.find_cameras(self._connection, [message.place for message in messages])
        placed, refused = [], []
        for message in messages:
            if (message.place.device, message.place.camera) in known:
                placed.append((message, self._names.camera(message.place)))
            else:
                refused.append(Refused(message.raw, "it is a picture of an unknown camera"))
        write_snapshots(self._connection, placed)
        return refused


def _number(entry: tuple[int, Parsed]) -> int:
    return entry[0]


def _statistics_text(message: Parsed) -> str:
    return to_json_text({key: value for key, value in message.content.items() if key not in _IN_STATISTICS})


def _camera_state(camera: int, message: Parsed) -> tuple[Any, ...]:
    source = message.content.get("source") or {}
    since = optional_time(source.get("since"), message.raw.received)
    alerts = to_json_text(message.content.get("alerts") or [])
    return camera, source.get("state") or "", since, source.get("name") or "", alerts


def _device_state(device: int, message: Parsed) -> tuple[Any, ...]:
    content = message.content
    objects = (to_json_text(content.get(key) or {}) for key in ("model", "detector_model"))
    return (
        device,
        content.get("version") or "",
        content.get("instance") or "",
        *objects,
        to_json_text(content.get("commands") or []),
    )


def _is_away(error: Exception) -> bool:
    """Return True for an error of the database rather than of a message.

    PostgreSQL: no connection, a full disk, a missing table. SQLite: locked, or a full disk.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, DisconnectionError | PoolTimeoutError)
    too_large = str(getattr(error.orig, "sqlstate", None) or "").startswith(_TOO_LARGE)
    return error.connection_invalidated or not (isinstance(error, DataError | IntegrityError | NotSupportedError) or too_large)


def _reason(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0][:300]
