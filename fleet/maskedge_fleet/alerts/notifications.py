"""Sends the notifications of alerts. They are rows of the database until a receiver accepts them."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from maskedge.alerts.notification import Receiver, read_addresses
from maskedge.errors import OutputError
from maskedge_fleet.database.rounds import only_one
from maskedge_fleet.database.tables import Alert, Notification
from maskedge_fleet.settings import NotifyConfig

_log = logging.getLogger("maskedge.fleet")
POLL_S = 2.0
_TOGETHER = 20
"""Maximum number of alerts in one message."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 10, 3600
_KEPT = timedelta(days=1)
"""Time after which a notification is not tried any more."""


class Service:
    """A receiver of notifications.

    Args:
        url: Its address of Apprise.
        number: Its place among the addresses, from 1.

    Attributes:
        id: Digest of the address, for the rows of the database.

    Raises:
        UsageError: Apprise does not know the address.
    """

    def __init__(self, url: str, number: int) -> None:
        self.id = hashlib.sha256(url.encode(errors="replace")).hexdigest()[:16]
        self._receiver = Receiver(url, number)
        self._failing = False

    def send_due(self, engine: Engine, link: str = "", now: datetime | None = None) -> int:
        """Send the due notifications in one message, unless another process does.

        Args:
            engine: The database.
            link: Address of the server for the message; empty for none.
            now: The time; None for the clock's.

        Returns:
            Number of notifications that are sent.
        """
        now = now or datetime.now(timezone.utc)
        with only_one(engine, f"notify-{self.id}") as held:
            rows = self._due(engine, now) if held else []
            if not rows:
                return 0
            title, body = compose(rows, link)
            try:
                self._receiver.send(title, body, ended=all(note.kind == "ended" for note, _ in rows))
            except OutputError as error:
                self._postpone(engine, [note for note, _ in rows], now)
                if not self._failing:
                    _log.warning("%s It is tried again.", error)
                self._failing = True
                return 0
            if self._failing:
                _log.info("notifications by %s are accepted again.", self._receiver.name)
            self._failing = False
            self._finish(engine, rows, now)
            return len(rows)

    def _due(self, engine: Engine, now: datetime) -> list[tuple[Notification, Alert]]:
        with Session(engine, expire_on_commit=False) as session:
            query = (
                select(Notification, Alert)
                .join(Alert, Alert.id == Notification.alert_id)
                .where(Notification.service == self.id, Notification.due <= now)
                .order_by(Notification.created, Notification.alert_id, Notification.kind)
                .limit(_TOGETHER)
            )
            return [(note, alert) for note, alert in session.execute(query)]

    def _finish(self, engine: Engine, rows: Sequence[tuple[Notification, Alert]], now: datetime) -> None:
        with Session(engine) as session, session.begin():
            for note, alert in rows:
                session.execute(_of(note))
                session.execute(update(Alert).where(Alert.id == alert.id).values(notified=now))

    def _postpone(self, engine: Engine, notes: Sequence[Notification], now: datetime) -> None:
        """Plan the next attempt after 10 s, doubling up to an hour. After a day, there is none."""
        with Session(engine) as session, session.begin():
            for note in notes:
                if now - note.created > _KEPT:
                    session.execute(_of(note))
                    continue
                wait = min(_FIRST_WAIT_S * 2 ** min(note.attempts, 20), _LONGEST_WAIT_S)
                session.execute(
                    update(Notification)
                    .where(Notification.alert_id == note.alert_id, Notification.kind == note.kind, Notification.service == self.id)
                    .values(attempts=note.attempts + 1, due=now + timedelta(seconds=wait))
                )


def _of(note: Notification):  # type: ignore[no-untyped-def]
    return delete(Notification).where(
        Notification.alert_id == note.alert_id, Notification.kind == note.kind, Notification.service == note.service
    )


def open_services(config: NotifyConfig) -> list[Service]:
    """Return the receivers of the settings.

    Raises:
        UsageError: An address is not valid, the file cannot be read, or Apprise is not installed.
    """
    return [Service(url, number) for number, url in enumerate(read_addresses(config.urls, config.urls_file), 1)]


def remove_unknown(engine: Engine, services: Sequence[Service]) -> None:
    """Remove the notifications for addresses that are no longer in the settings."""
    with Session(engine) as session, session.begin():
        session.execute(delete(Notification).where(Notification.service.not_in([service.id for service in services])))


def compose(rows: Sequence[tuple[Notification, Alert]], link: str = "") -> tuple[str, str]:
    """Return the title and the text of a message about one or several alerts.

    Args:
        rows: The notifications and their alerts.
        link: Address of the server; empty for none.
    """
    lines = []
    for note, alert in rows:
        if note.kind == "begun":
            lines.append(f"{alert.rule}: {alert.sentence}")
        else:
            minutes = ((alert.ended or alert.since) - alert.since).total_seconds() / 60
            lines.append(f"Ended after {minutes:.0f} min: {alert.rule}, {alert.subject}")
    if len(rows) == 1:
        note, alert = rows[0]
        title = f"{'Ended: ' if note.kind == 'ended' else ''}{alert.rule} ({alert.subject})"
    else:
        title = f"{len(rows)} alerts of the fleet"
    return title, "\n".join([*lines, *([link] if link else [])])


def send_until(stop: threading.Event, engine: Engine, service: Service, link: str) -> None:
    """Send notifications of one receiver until `stop` is set."""
    while not stop.wait(POLL_S):
        try:
            service.send_due(engine, link)
        except (SQLAlchemyError, OutputError):
            # The evaluation of the rules reports that the database is away.
            stop.wait(10 * POLL_S)
