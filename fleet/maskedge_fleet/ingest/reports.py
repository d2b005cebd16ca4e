"""Messages that are rare: alerts, answers to commands, snapshots, and messages that were refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from maskedge.events import ALERT, ALERT_ENDED
from maskedge_fleet.database.tables import LONGEST_NAME, Alert, Command, Event, Reject, Snapshot

from .messages import KEPT_BYTES, Parsed, Refused
from .names import insert_new

ALERT_LOCK = 7306
"""First key of the lock of PostgreSQL for the alerts of a camera."""
_YOUNG = timedelta(minutes=1)
_FINAL = ("done", "refused", "failed")
_REJECTS_PER_MINUTE = 60
_MOST_COUNTED = 10_000


def write_alerts(connection: Connection, events: Sequence[tuple[Parsed, int, int]]) -> None:
    """Open and close alerts by events that are in the table already, in any order of arrival.

    Args:
        connection: Connection within a transaction.
        events: Events with the numbers of their devices and cameras. Other kinds are left out.
    """
    wanted = [
        entry
        for entry in events
        if entry[0].content["event"] in (ALERT, ALERT_ENDED) and isinstance(entry[0].content.get("rule"), str)
    ]
    if connection.dialect.name == "postgresql":
        # Of two processes that get the beginning and the end of an alert, the second one sees both.
        for camera in sorted({camera for _, _, camera in wanted}):
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :camera)"), {"lock": ALERT_LOCK, "camera": camera})
    for event, device, camera in sorted(wanted, key=lambda entry: entry[0].time):
        rule = event.content["rule"][:LONGEST_NAME]
        if event.content["event"] == ALERT:
            _open_alert(connection, event, rule, device, camera)
        else:
            _end_alert(connection, event, rule)


def _open_alert(connection: Connection, event: Parsed, rule: str, device: int, camera: int) -> None:
    ended = connection.scalar(
        select(Event.time)
        .where(Event.camera_id == camera, Event.kind == ALERT_ENDED, Event.time >= event.time)
        .where(Event.details["rule"].as_string() == event.content["rule"])
        .order_by(Event.time)
        .limit(1)
    )
    row = {
        "rule": rule,
        "source": "device",
        "subject": event.place.prefix[: 2 * LONGEST_NAME],
        "device_id": device,
        "camera_id": camera,
        "since": event.time,
        "ended": ended,
        "sentence": _sentence(event.content, rule),
        "details": {key: value for key, value in event.content.items() if key not in ("id", "event", "time", "rule", "device")},
    }
    insert_new(connection, Alert, [row])


def _end_alert(connection: Connection, event: Parsed, rule: str) -> None:
    newest = (
        select(Alert.id)
        .where(Alert.source == "device", Alert.rule == rule, Alert.subject == event.place.prefix[: 2 * LONGEST_NAME])
        .where(Alert.since <= event.time)
        .order_by(Alert.since.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(
        update(Alert).where(Alert.id == newest, (Alert.ended.is_(None)) | (Alert.ended > event.time)).values(ended=event.time)
    )


def _sentence(content: Mapping[str, Any], rule: str) -> str:
    where = f" in {content['zone']:.200}" if isinstance(content.get("zone"), str) else ""
    when = f": {content['when']:.200}" if isinstance(content.get("when"), str) else ""
    return f"{rule}{when}{where}"


def end_forgotten_alerts(connection: Connection, active: Mapping[int, Collection[str]], now: datetime) -> None:
    """End alerts that their device no longer has: it was killed, or the event of their end is lost.

    Args:
        connection: Connection within a transaction.
        active: Active rules by the number of the camera, from its newest state.
        now: The time.
    """
    rows = connection.execute(
        select(Alert.id, Alert.rule, Alert.camera_id)
        # The state that lacks an alert may be older than the alert.
        .where(Alert.source == "device", Alert.ended.is_(None), Alert.since < now - _YOUNG)
        .where(Alert.camera_id.in_(active))
    )
    ended = [row.id for row in rows if row.rule not in active[row.camera_id]]
    if ended:
        connection.execute(update(Alert).where(Alert.id.in_(ended), Alert.ended.is_(None)).values(ended=now))


def write_answers(connection: Connection, answers: Sequence[tuple[Parsed, int]]) -> list[Refused]:
    """Store answers to commands.

    Args:
        connection: Connection within a transaction.
        answers: Answers with the numbers of their devices.

    Returns:
        Answers to commands that do not exist.
    """
    refused = []
    for answer, device in sorted(answers, key=lambda entry: entry[0].id):
        row = connection.execute(
            select(Command.state, Command.answer).where(Command.id == answer.id, Command.device_id == device).with_for_update()
        ).one_or_none()
        if row is None:
            refused.append(Refused(answer.raw, "it answers a command that this device was not sent"))
        elif row.state not in _FINAL or (answer.content["status"] in _FINAL and not _is_older(answer.content, row.answer)):
            connection.execute(
                update(Command)
                .where(Command.id == answer.id)
                .values(state=answer.content["status"], answer=dict(answer.content), answered=answer.raw.received)
            )
    return refused


def _is_older(answer: Mapping[str, Any], newest: Mapping[str, Any]) -> bool:
    """Return True for an answer from before the newest one. All times of a device have the same form."""
    return str(answer.get("time", "")) < str(newest.get("time", ""))


def write_snapshots(connection: Connection, snapshots: Iterable[tuple[Parsed, int]]) -> None:
    """Store the newest picture of each camera.

    Args:
        connection: Connection within a transaction.
        snapshots: Pictures with the numbers of their cameras.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for camera, picture in sorted({camera: picture for picture, camera in snapshots}.items(), key=lambda entry: entry[0]):
        values = {"time": picture.time, "content": picture.raw.payload}
        statement = dialect.insert(Snapshot).values(camera_id=camera, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["camera_id"], set_=values))


class RejectLimit:
    """Limits the rejects that are stored, to 60 per topic and minute."""

    def __init__(self) -> None:
        self._minute: datetime | None = None
        self._counts: Counter[str] = Counter()

    def accept(self, refused: Refused) -> bool:
        """Count a reject, and return True if it is stored."""
        minute = refused.raw.received.replace(second=0, microsecond=0)
        if minute != self._minute or len(self._counts) > _MOST_COUNTED:
            self._minute, self._counts = minute, Counter()
        self._counts[refused.raw.topic] += 1
        return self._counts[refused.raw.topic] <= _REJECTS_PER_MINUTE


def write_rejects(connection: Connection, rejects: Sequence[Refused]) -> None:
    """Store messages that were not accepted, with the first bytes of each."""
    if rejects:
        connection.execute(
            insert(Reject),
            [
                {
                    "received": refused.raw.received,
                    "topic": refused.raw.topic,
                    "reason": refused.reason,
                    "size": refused.raw.size,
                    "payload": refused.raw.payload[:KEPT_BYTES],
                }
                for refused in rejects
            ],
        )
